"""Let the main process alone decide what a stop signal does.

`timeout`, SLURM, systemd and a terminal signal every process of a group or job: DataLoader workers
and the like receive what is meant for the process that started them.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process

STOP_SIGNALS = (signal.SIGUSR2, signal.SIGUSR1, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
_SECONDS_BETWEEN_LOOKS = 1


def heeded_stop_signals() -> list[signal.Signals]:
    """Return the stop signals, without SIGHUP if `nohup` has started this process to ignore it."""
    is_ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return [number for number in STOP_SIGNALS if number != signal.SIGHUP or not is_ignored]


@contextmanager
def hold_stop_signals() -> Iterator[None]:
    """Hold stop signals back until the end of the context.

    A process that is started inside never receives them, unless it calls `receive_stop_signals`.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def receive_stop_signals() -> None:
    """Receive stop signals in a process that was started while they were held back."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


def leave_stop_signals_to_parent(*_: object) -> None:
    """Ignore stop signals in this process, but end when its parent sends SIGTERM or has ended.

    Start the process in `hold_stop_signals`, or a signal may come before this call.
    """
    parent = parent_process()
    assert parent is not None
    # Held back and not ignored, because only a signal that is waited for names its sender.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_end_for_parent, args=(parent.pid,), daemon=True).start()


def _end_for_parent(parent_id: int | None) -> None:
    while os.getppid() == parent_id:
        received = signal.sigtimedwait([signal.SIGTERM], _SECONDS_BETWEEN_LOOKS)
        if received is not None and received.si_pid == parent_id:
            os._exit(0)
    os._exit(1)
