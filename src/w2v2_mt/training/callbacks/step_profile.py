"""Profile training steps: the time of each part, and a trace of every operation."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.profiler import profile

from w2v2_mt.core.atomic_output import atomic_replacement
from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt
from w2v2_mt.core.terminal import print_visible

TRACE_FILE = "trace.json"


@dataclass(kw_only=True, eq=False)
class StepProfile(pl.Callback):
    """A callback that times some steps part by part, traces some more and stops training.

    The parts have no gap between them: `data` lasts from the end of a batch until the next one is
    on the device, `forward` until the backward pass starts, `optimizer` from the end of the
    backward pass to the end of the batch. The GPU is synchronized between parts. Tracing slows down
    every operation, so timed steps are not traced.
    """

    num_warmup_steps: NonNegativeInt
    num_timed_steps: PositiveInt
    num_traced_steps: PositiveInt

    def __post_init__(self) -> None:
        self.seconds = dict.fromkeys(("data", "forward", "backward", "optimizer"), 0.0)
        self._is_timed = False
        self._since = 0.0
        self._profiler: profile | None = None

    def _begin_batch(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Warm up, time, trace or stop, depending on the number of steps."""
        num_steps = trainer.global_step
        timed_until = self.num_warmup_steps + self.num_timed_steps
        self._is_timed = self.num_warmup_steps <= num_steps < timed_until
        if num_steps == timed_until and self._profiler is None:
            self._profiler = profile()
            self._profiler.start()
        elif num_steps == timed_until + self.num_traced_steps and self._profiler is not None:
            self._profiler.stop()
            if trainer.is_global_zero:
                self._report(self._profiler, Path(trainer.default_root_dir) / TRACE_FILE)
            self._profiler = None
            trainer.should_stop = True
        self._since = _synchronize(task)

    on_train_start = _begin_batch  # type: ignore[assignment]

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        self._end_part("data", task)

    def on_before_backward(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        self._end_part("forward", task)

    def on_after_backward(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._end_part("backward", task)

    def on_train_batch_end(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        self._end_part("optimizer", task)
        self._begin_batch(trainer, task)

    def teardown(self, *_: Any, **__: Any) -> None:
        if self._profiler is not None:  # Training ended while steps were traced.
            self._profiler.stop()
            self._profiler = None

    def shares(self) -> dict[str, float]:
        """Return the share of each part in the time of the timed steps; they sum to 1."""
        total = sum(self.seconds.values())
        return {part: seconds / total for part, seconds in self.seconds.items()}

    def _report(self, profiler: profile, path: Path) -> None:
        with atomic_replacement(path) as part:
            profiler.export_chrome_trace(str(part))
        step_sec = sum(self.seconds.values()) / self.num_timed_steps
        shares = ", ".join(f"{part} {100 * share:.1f} %" for part, share in self.shares().items())
        print_visible(
            f"a step took {step_sec:.3g} s (mean of {self.num_timed_steps}): {shares}\n"
            f"trace of {self.num_traced_steps} more: {path} (opens in https://ui.perfetto.dev)"
        )

    def _end_part(self, part: str, task: pl.LightningModule) -> None:
        if self._is_timed:
            now = _synchronize(task)
            self.seconds[part] += now - self._since
            self._since = now


def _synchronize(task: pl.LightningModule) -> float:
    """Return the time after the work of the GPU is done."""
    if task.device.type == "cuda":
        torch.cuda.synchronize(task.device)
    return time.perf_counter()
