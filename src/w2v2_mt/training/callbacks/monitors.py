"""Log the learning rate and the memory together with the losses."""

import sys
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import LearningRateMonitor

from w2v2_mt.tasks.training_task import is_logging_step


def learning_rate_monitor() -> LearningRateMonitor:
    """Make a callback that logs the learning rate with the losses."""
    return LearningRateMonitor(logging_interval="step")


class MemoryMonitor(pl.Callback):
    """A callback that logs the peak memory with the losses."""

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        if is_logging_step(task):
            task.log_dict(peak_memory(task.device), batch_size=1)


def peak_memory(device: torch.device) -> dict[str, float]:
    """Measure the peak memory in GiB of this process and of its tensors on a GPU.

    The DataLoader workers are not included. The keys are the names under which it is logged.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"memory_process_gib": getrusage(RUSAGE_SELF).ru_maxrss * unit / 2**30}
    if device.type == "cuda":
        peak["memory_gpu_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return peak
