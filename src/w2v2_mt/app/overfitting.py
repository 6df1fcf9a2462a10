"""Training on a few batches again and again, until they are learned by heart."""

from typing import Any

import pytorch_lightning as pl

from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.core.processes import mean_over_processes


class UntilLearned(pl.Callback):
    """Ends training when the mean loss of one pass over the batches is small, and says so.

    It reads the loss of every batch, which nothing but a search for faults should.
    """

    def __init__(self, *, loss_below: PositiveFloat):
        self.loss_below = loss_below
        self._losses: list[float] = []
        self._last_mean: float | None = None

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning has divided it by the number of batches in a step.
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        self._losses.append(float(mean_over_processes(loss)))
        if len(self._losses) < trainer.num_training_batches:
            return
        self._last_mean = sum(self._losses) / len(self._losses)
        self._losses.clear()
        trainer.should_stop = self._is_learned

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero or self._last_mean is None:
            return
        verdict = "learned" if self._is_learned else "not learned"
        print(
            f"{verdict}: the mean loss of the same {trainer.num_training_batches} batches is "
            f"{self._last_mean:.3g} after {trainer.global_step} steps (learned: below "
            f"{self.loss_below})",
            flush=True,
        )

    @property
    def _is_learned(self) -> bool:
        return self._last_mean is not None and self._last_mean < self.loss_below
