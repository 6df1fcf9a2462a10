"""Stopping a run from outside: the step is finished and saved, then the sender gets his way.

Who queues a stopped job again is decided in one place: the launcher's library, whose handlers are
called once the state is saved. Lightning's own requeueing is switched off (`trainer.py`).
"""

import logging
import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytorch_lightning as pl

from w2v2_mt.app.saving import is_between_steps, save_last

log = logging.getLogger(__name__)

_PREEMPTED = (signal.SIGUSR2, signal.SIGUSR1)
"""What a cluster sends before it takes a job's place; the first is that of the launchers."""
_SIGNALS = (*_PREEMPTED, signal.SIGTERM, signal.SIGINT)


class StopOnSignal(pl.callbacks.Checkpoint):
    """While training: end after the step at hand, with the full state in `last.ckpt`.

    A validation that is due or begun is finished first, since none is made up for after a start
    from the middle of one. Outside of training, and at a second signal of the kind, the handlers
    that were there before have their way at once; a second Ctrl-C ends the process as it stands. To
    be used around a whole run with `with`.

    As a kind of checkpoint callback it comes behind those that keep `best.ckpt`.
    """

    def __init__(self) -> None:
        self._process_id = os.getpid()
        self._former: dict[signal.Signals, Any] = {}
        self._received: signal.Signals | None = None
        self._is_training = False

    def __enter__(self) -> "StopOnSignal":
        self._former = {number: signal.getsignal(number) for number in _SIGNALS}
        self._listen(*_SIGNALS)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Lightning has just put before ours a handler that ends training without a checkpoint.
        self._listen(signal.SIGTERM)
        self._is_training = True

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._is_training = False

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        self._is_training = False

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if is_between_steps(trainer) and self._is_asked(trainer):
            # Lightning would log the step behind this hook, and nobody does it again.
            trainer._logger_connector.update_train_step_metrics()
            self._stop(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._is_training and self._is_asked(trainer):
            self._stop(trainer)

    def _listen(self, *signals: signal.Signals) -> None:
        for number in signals:
            signal.signal(number, self._receive)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        received = signal.Signals(number)
        if os.getpid() != self._process_id:
            # A cluster signals the processes that read data as well; they end with this one.
            if received == signal.SIGTERM:
                _by_default(received)
        elif self._is_training and self._received != received:
            self._received = received
            again = "press again" if received == signal.SIGINT else f"send {received.name} again"
            log.info(f"{received.name}: finishing the step and saving; {again} to stop at once")
        elif self._received == received == signal.SIGINT:
            # A KeyboardInterrupt in the middle of a queue or a lock of a library, such as that of
            # TensorBoard's writer, would leave it closed, and the process would wait for ever.
            _by_default(received)
        else:
            self._hand_on(received, frame)

    def _is_asked(self, trainer: pl.Trainer) -> bool:
        """With several processes, all of them stop where one was asked."""
        is_asked = self._received is not None
        if trainer.world_size > 1:
            return trainer.strategy.reduce_boolean_decision(is_asked, all=False)
        return is_asked

    def _stop(self, trainer: pl.Trainer) -> None:
        last = save_last(trainer)
        log.info(f"stopped after step {trainer.global_step} ({last})")
        self._is_training = False
        received = self._received or signal.SIGTERM
        if received in _PREEMPTED:
            # Where there is a launcher, this queues the job again and does not return.
            self._hand_on(_PREEMPTED[0], None)
        raise SystemExit(128 + received)

    def _hand_on(self, received: signal.Signals, frame: FrameType | None) -> None:
        former: Callable[[int, FrameType | None], Any] | int | None = self._former[received]
        if former == signal.SIG_DFL and received in _PREEMPTED:
            # A launcher queues a job again for the signal that it asks the cluster for.
            former = self._former[_PREEMPTED[0]]
        if callable(former):
            former(received, frame)
        elif former == signal.SIG_DFL:
            _by_default(received)


def _by_default(received: signal.Signals) -> None:
    signal.signal(received, signal.SIG_DFL)
    os.kill(os.getpid(), received)
