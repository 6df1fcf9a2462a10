"""Launch one process per device on this machine, and watch over them.

A cluster that starts one task per process (srun, torchrun) does not need this.
"""

import logging
import os
import signal
import socket
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from multiprocessing import connection, get_context, parent_process
from typing import Any

from w2v2_mt.core.errors import OutputExistsError
from w2v2_mt.core.stop_signals import (
    heeded_stop_signals,
    hold_stop_signals,
    receive_stop_signals,
)
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.training.launcher import set_rank

_SECONDS_TO_SAVE = 60
"""Time for all processes to end after a signal."""
_SECONDS_TO_FAIL = 2
"""Time for the others to end by themselves after one has failed."""


def run_in_processes(function: Callable[..., Any], num_processes: int, **arguments: Any) -> Any:
    """Call `function(**arguments)` in several processes that can form a process group.

    Signals are forwarded to all processes. If they stop because of one, it is then handled here as
    it would be without processes. Nothing that the function needs is imported before the fork.

    Returns:
        The result of the first process.

    Raises:
        ValueError: A process failed. The message is that of its error; the others are ended.
        SystemExit: The processes stopped because of a signal.
    """
    context = get_context("fork")
    outcomes = context.SimpleQueue()
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    environment = {**address, "WORLD_SIZE": str(num_processes), "NODE_RANK": "0"}
    members = [
        context.Process(
            target=_run_member,
            args=(function, arguments, rank, environment, outcomes),
            name=f"process {rank} of {num_processes}",
        )
        for rank in range(num_processes)
    ]
    received: list[signal.Signals] = []

    def forward(number: int, _: object) -> None:
        received.append(signal.Signals(number))
        for member in members:
            if member.pid is not None and member.exitcode is None:
                os.kill(member.pid, number)

    with ExitStack() as at_end:
        for number in heeded_stop_signals():
            at_end.callback(signal.signal, number, signal.signal(number, forward))
        try:
            # A signal that comes now is forwarded to all of them.
            with hold_stop_signals():
                for member in members:
                    member.start()
            while None in (codes := [member.exitcode for member in members]) and not any(codes):
                running = [each for each, code in zip(members, codes, strict=True) if code is None]
                connection.wait([member.sentinel for member in running])
        finally:
            deadline = time.monotonic() + (_SECONDS_TO_SAVE if received else _SECONDS_TO_FAIL)
            for member in members:
                member.join(max(0, deadline - time.monotonic()))
                member.kill()
                member.join()
    if received:
        handler = signal.getsignal(received[0])
        if callable(handler) and received[0] != signal.SIGINT:
            handler(received[0], None)
        raise SystemExit(128 + received[0])
    outcome_of: dict[int, Any] = {}
    while not outcomes.empty():
        outcome_of.update([outcomes.get()])
    if not any(codes):
        return outcome_of[0]
    rank, code = next((rank, code) for rank, code in enumerate(codes) if code)
    if isinstance(error := outcome_of.get(rank), ValueError):
        raise error
    cause = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
    raise ValueError(
        f"{members[rank].name} {cause}. Start the run again in its folder, where it resumes."
    )


def _run_member(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    rank: int,
    environment: Mapping[str, str],
    outcomes: Any,
) -> None:
    # A terminal signals its whole process group, but the parent forwards signals already.
    os.setpgid(0, 0)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for number in heeded_stop_signals():
        signal.signal(number, signal.SIG_DFL)
    receive_stop_signals()
    os.environ |= {**environment, "LOCAL_RANK": str(rank), "RANK": str(rank)}
    set_rank(rank)
    if rank > 0:
        logging.disable(logging.INFO)
    try:
        outcomes.put((rank, function(**arguments)))
    except Exception as error:
        sentence = str(error)
        if not isinstance(error, ValueError):
            print_visible(traceback.format_exc(), to_stderr=True)
            sentence = "".join(traceback.format_exception_only(error)).strip()
        kind = OutputExistsError if isinstance(error, OutputExistsError) else ValueError
        outcomes.put((rank, kind(sentence)))
        raise SystemExit(1) from None


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
