"""Where the time of a training step goes: shares of its parts, and a trace of every operation."""

import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity, profile

from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt

TRACE_FILE = "trace.json"

_PARTS = ("data", "forward", "backward", "optimiser")


class StepProfile(pl.Callback):
    """Times some batches part by part, traces some more, prints, and ends the training.

    The parts follow each other without a gap: `data` is from the end of a batch until the next one
    is on the device, `forward` until the backward pass begins, `optimiser` from the end of that to
    the end of the batch. A GPU is waited for between parts. Tracing slows every operation down, so
    what is timed is not traced.
    """

    def __init__(
        self,
        *,
        num_warmup_steps: NonNegativeInt,
        num_timed_steps: PositiveInt,
        num_traced_steps: PositiveInt,
    ):
        self.num_warmup_steps = num_warmup_steps
        self.num_timed_steps = num_timed_steps
        self.num_traced_steps = num_traced_steps
        self.seconds = dict.fromkeys(_PARTS, 0.0)
        self._is_timed = False
        self._since = 0.0
        self._profiler: profile | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._begin(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._ends("data", pl_module)

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: torch.Tensor
    ) -> None:
        self._ends("forward", pl_module)

    def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._ends("backward", pl_module)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._ends("optimiser", pl_module)
        self._begin(trainer, pl_module)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._profiler is not None:  # The run ended in the middle of it.
            self._profiler.stop()
            self._profiler = None

    def shares(self) -> dict[str, float]:
        """Of the time of the timed steps, by part; together 1."""
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    def _begin(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prepare for the next batch: warm up, time, trace or end."""
        num_steps = trainer.global_step
        timed_until = self.num_warmup_steps + self.num_timed_steps
        self._is_timed = self.num_warmup_steps <= num_steps < timed_until
        if num_steps == timed_until and self._profiler is None:
            activities = [ProfilerActivity.CPU]
            if pl_module.device.type == "cuda":
                activities.append(ProfilerActivity.CUDA)
            self._profiler = profile(activities=activities)
            self._profiler.start()
        elif num_steps == timed_until + self.num_traced_steps and self._profiler is not None:
            self._end(trainer, self._profiler)
        self._since = _now(pl_module)

    def _end(self, trainer: pl.Trainer, profiler: profile) -> None:
        self._profiler = None
        profiler.stop()
        trainer.should_stop = True
        if not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / TRACE_FILE
        profiler.export_chrome_trace(str(path))
        step_sec = sum(self.seconds.values()) / self.num_timed_steps
        shares = ", ".join(f"{part} {100 * share:.1f} %" for part, share in self.shares().items())
        print(
            f"a step took {step_sec:.3g} s (mean of {self.num_timed_steps}): {shares}\n"
            f"trace of {self.num_traced_steps} more: {path} (opens in https://ui.perfetto.dev)",
            flush=True,
        )

    def _ends(self, part: str, pl_module: pl.LightningModule) -> None:
        if self._is_timed:
            now = _now(pl_module)
            self.seconds[part] += now - self._since
            self._since = now


def _now(pl_module: pl.LightningModule) -> float:
    if pl_module.device.type == "cuda":
        torch.cuda.synchronize(pl_module.device)
    return time.perf_counter()
