"""Stop a run on a signal, after its step is finished and its state is saved.

Requeueing a stopped SLURM job is left to the launcher's library, whose handlers are called
after the state is saved. Lightning's own requeueing is switched off (`trainer.py`).
"""

import logging
import os
import signal
import time
from types import FrameType
from typing import Any, NoReturn

import pytorch_lightning as pl

from w2v2_mt.core.stop_signals import heeded_stop_signals
from w2v2_mt.training.callbacks.last_checkpoint import is_between_steps, save_last

log = logging.getLogger(__name__)

_PREEMPTED = (signal.SIGUSR2, signal.SIGUSR1)
"""Signals that a cluster sends before preemption or the time limit; launchers use the first."""
_SECONDS_OF_ONE_REQUEST = 1
"""`timeout`, systemd and launchers may send one request twice: to a process and to its group."""


class StopOnSignal(pl.callbacks.Checkpoint):
    """A callback and context manager that stops training on a signal and saves `last.ckpt`.

    The current step is finished first, and so is a validation that is due or has started, because a
    resumed run does not catch up on it. Outside of training, and on a second signal of the same
    kind, the handlers that were installed before are called at once; a second Ctrl-C kills the
    process. A signal that is repeated within a second is one request. Use it with `with` around a
    whole run, which then ends with the exit that a signal asked for, whatever fails on the way.

    It is a kind of checkpoint callback so that it comes after those that keep `best.ckpt`.
    """

    def __init__(self) -> None:
        self._process_id = os.getpid()
        self._former: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None
        self._latest: tuple[signal.Signals, float] | None = None
        self._is_training = False
        self._exit: SystemExit | None = None

    def __enter__(self) -> "StopOnSignal":
        self._former = {number: signal.getsignal(number) for number in heeded_stop_signals()}
        for number in self._former:
            signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        if self._exit is not None:
            # Lightning's cleanup fails if it is stopped between two of its own statements.
            raise self._exit

    def setup(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        # Lightning's handler of SIGTERM ends training without a checkpoint, and waits for the other
        # processes within the handler. Lightning offers no public way to switch it off.
        connector: Any = trainer._signal_connector
        connector.register_signal_handlers = lambda: None

    def on_train_start(self, *_: Any) -> None:
        self._is_training = True

    def on_train_end(self, *_: Any) -> None:
        self._is_training = False

    on_exception = on_train_end  # type: ignore[assignment]

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if is_between_steps(trainer) and self._is_asked(trainer):
            # Lightning logs the step after this hook, and a resumed run does not log it again. It
            # has no public method for that.
            trainer._logger_connector.update_train_step_metrics()
            self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if self._is_training and self._is_asked(trainer):
            self._stop(trainer)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if os.getpid() != self._process_id:
            # A process that was forked by code of a user inherits this handler.
            if received == signal.SIGTERM:
                _use_default_handler(received)
        elif self._is_repeated(received):
            return
        elif self._is_training and self._received != received:
            self._received = received
            again = "press again" if received == signal.SIGINT else f"send {received.name} again"
            log.info(f"{received.name}: finishing the step and saving; {again} to stop at once")
        elif self._received == received == signal.SIGINT:
            # A KeyboardInterrupt inside a lock of a library, such as TensorBoard's writer, would
            # leave it locked, and the process would wait forever.
            _use_default_handler(received)
        else:
            self._forward(received, frame)

    def _is_repeated(self, received: signal.Signals) -> bool:
        """Return True for the same signal within a second, which is not a second request."""
        now = time.monotonic()
        if self._latest is not None:
            former, received_at = self._latest
            if former == received and now - received_at < _SECONDS_OF_ONE_REQUEST:
                return True
        self._latest = received, now
        return False

    def _is_asked(self, trainer: pl.Trainer) -> bool:
        """Return True if this or another process was asked to stop."""
        return trainer.strategy.reduce_boolean_decision(self._received is not None, all=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        last = save_last(trainer)
        log.info(f"stopped after step {trainer.global_step} ({last})")
        self._is_training = False
        received = self._received or signal.SIGTERM
        if received in _PREEMPTED:
            # A launcher's handler requeues the job and does not return.
            self._forward(_PREEMPTED[0], None)
        self._end(128 + received)

    def _forward(self, received: signal.Signals, frame: FrameType | None) -> None:
        former = self._former.get(received, signal.SIG_DFL)
        if former == signal.SIG_DFL and received in _PREEMPTED:
            # A launcher requeues a job only for the signal that it asks the cluster for.
            former = self._former.get(_PREEMPTED[0], signal.SIG_DFL)
        if former == signal.default_int_handler:
            # Lightning and the interpreter would print how they handle a KeyboardInterrupt.
            self._end(128 + received)
        if callable(former):
            try:
                former(received, frame)
            except SystemExit as end:
                self._end(end.code)
        elif former == signal.SIG_DFL:
            _use_default_handler(received)

    def _end(self, code: str | int | None) -> NoReturn:
        self._exit = SystemExit(code)
        raise self._exit


def _use_default_handler(received: signal.Signals) -> None:
    signal.signal(received, signal.SIG_DFL)
    os.kill(os.getpid(), received)
