"""Overfit a few batches, to check that a network and a loss can learn at all."""

from typing import Any

import pytorch_lightning as pl

from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.core.distributed import mean_over_processes
from w2v2_mt.core.units import count


class UntilLearned(pl.Callback):
    """A callback that stops training once the batches are learned, and prints the outcome.

    They are learned once the mean loss of one pass over them is below `loss_below`. Reading the
    loss of every batch slows training down.
    """

    def __init__(self, *, loss_below: PositiveFloat):
        self.loss_below = loss_below
        self._losses: list[float] = []
        self._last_mean: float | None = None

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, outputs: Any, *__: Any) -> None:
        # Lightning has divided the loss by the number of batches in a step.
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        self._losses.append(float(mean_over_processes(loss)))
        if len(self._losses) < trainer.num_training_batches:
            return
        self._last_mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        trainer.should_stop = self._last_mean < self.loss_below

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if not trainer.is_global_zero or self._last_mean is None:
            return
        outcome = "learned" if self._last_mean < self.loss_below else "not learned"
        print(
            f"{outcome}: the mean loss of the same "
            f"{count(int(trainer.num_training_batches), 'batch', 'batches')} is "
            f"{self._last_mean:.3g} after {count(trainer.global_step, 'step')} (learned: below "
            f"{self.loss_below})",
            flush=True,
        )
