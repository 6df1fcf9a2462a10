"""What happens beside training: checkpoints, early stopping, a line for each validation."""

import math
import sys
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.trainer.states import TrainerFn

from w2v2_mt.app.checkpoints import RECORD_KEY, MovableCheckpoint
from w2v2_mt.core.constraints import PositiveFloat, PositiveInt
from w2v2_mt.tasks.base import is_logging_step


def best_checkpoint(*, monitor: str) -> MovableCheckpoint:
    """Keep the full state of the validation with the lowest `monitor` as `best.ckpt`."""
    return MovableCheckpoint(
        monitor=monitor,
        mode="min",
        save_top_k=1,
        filename="best",
        auto_insert_metric_name=False,
        enable_version_counter=False,
    )


def learning_rate_monitor() -> LearningRateMonitor:
    """Log the learning rate with the losses."""
    return LearningRateMonitor(logging_interval="step")


class MemoryMonitor(pl.Callback):
    """Log with the losses how much memory has been taken so far."""

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if is_logging_step(pl_module):
            pl_module.log_dict(peak_memory(pl_module.device), batch_size=1)


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most that this process, without its readers, and its tensors on a GPU ever took, in GiB.

    The names are those of the log.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"memory_process_gib": getrusage(RUSAGE_SELF).ru_maxrss * unit / 2**30}
    if device.type == "cuda":
        peak["memory_gpu_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return peak


class StopWhenAllStalled(pl.Callback):
    """End training when every monitored metric has stalled, or when a loss runs away.

    Args:
        monitors: metrics, lower is better; each stalls after `patience` validations without a new
            best.
        losses: watched for divergence: above `divergence_threshold` after having been below it.
            (The margin puts a speaker loss above it at first.)

    Raises:
        ValueError: a monitored metric is not among the validation metrics.
    """

    def __init__(
        self,
        *,
        monitors: list[str],
        patience: PositiveInt,
        losses: list[str],
        divergence_threshold: PositiveFloat,
    ):
        self.monitors = monitors
        self.patience = patience
        self.losses = losses
        self.divergence_threshold = divergence_threshold
        self.best = dict.fromkeys(monitors, math.inf)
        self.num_stalled = dict.fromkeys(monitors, 0)
        self.has_been_below = dict.fromkeys(losses, False)

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "num_stalled": self.num_stalled,
            "has_been_below": self.has_been_below,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best = state_dict["best"]
        self.num_stalled = state_dict["num_stalled"]
        self.has_been_below = state_dict["has_been_below"]

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        missing = [name for name in (*self.monitors, *self.losses) if name not in metrics]
        if missing:
            raise ValueError(
                f"callbacks.early_stopping watches {missing}, which this run does not measure; "
                f"choose from {sorted(name for name in metrics if name.startswith('val_'))}."
            )
        for name in self.monitors:
            improved = metrics[name] < self.best[name]
            self.num_stalled[name] = 0 if improved else self.num_stalled[name] + 1
            self.best[name] = min(metrics[name], self.best[name])
        diverged = [name for name in self.losses if self._has_diverged(name, metrics[name])]
        if diverged or all(stalled >= self.patience for stalled in self.num_stalled.values()):
            trainer.should_stop = True

    def _has_diverged(self, name: str, loss: float) -> bool:
        is_below = loss <= self.divergence_threshold
        self.has_been_below[name] |= is_below
        return math.isnan(loss) or (self.has_been_below[name] and not is_below)


class ValidationLines(pl.Callback):
    """Print one line after each validation: the step and what was measured."""

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        values = [
            f"{name.removeprefix('val_')} {float(value):.4g}"
            for name, value in sorted(trainer.callback_metrics.items())
            if name.startswith("val_")
        ]
        print(f"step {trainer.global_step}: {', '.join(values)}", flush=True)


class RunRecord(pl.Callback):
    """Write into each checkpoint what is needed to use it: settings, class count and metrics.

    A run that goes on knows the metrics, which a schedule may be about to follow.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record
        self._metrics: dict[str, float] = {}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._metrics = checkpoint[RECORD_KEY]["metrics"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in self._metrics.items()}
        )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[RECORD_KEY] = {**self.record, "metrics": metrics}
