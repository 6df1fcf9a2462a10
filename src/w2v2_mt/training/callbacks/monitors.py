"""Log the learning rate, the memory and the speed together with the losses."""

import sys
from dataclasses import asdict
from pathlib import Path
from resource import RUSAGE_SELF, getrusage
from typing import Any

import pytorch_lightning as pl
import torch
from pydantic import TypeAdapter, ValidationError
from pytorch_lightning.callbacks import LearningRateMonitor
from pytorch_lightning.trainer.states import TrainerFn

from w2v2_mt.models.flops import UsefulFlops
from w2v2_mt.runs.run_record import write_speed
from w2v2_mt.tasks.training_task import is_logging_step
from w2v2_mt.training.device_peaks import find_peak
from w2v2_mt.training.energy_meter import find_energy_meter
from w2v2_mt.training.speed_meter import SpeedMeter, SpeedTotals

_SPEED_KEY = "w2v2_mt_speed"
"""Key of the sums of the speed meter in a checkpoint."""
_TOTALS: Any = TypeAdapter(SpeedTotals)


def learning_rate_monitor() -> LearningRateMonitor:
    """Make a callback that logs the learning rate with the losses."""
    return LearningRateMonitor(logging_interval="step")


class MemoryMonitor(pl.Callback):
    """A callback that logs the peak memory with the losses."""

    def on_train_batch_start(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        if is_logging_step(task):
            _log(task, peak_memory(task.device))


def peak_memory(device: torch.device) -> dict[str, float]:
    """Measure the peak memory in GiB of this process and of its tensors on a GPU.

    The DataLoader workers are not included. The keys are the names under which it is logged.
    """
    unit = 1 if sys.platform == "darwin" else 1024
    peak = {"memory_process_gib": getrusage(RUSAGE_SELF).ru_maxrss * unit / 2**30}
    if device.type == "cuda":
        peak["memory_gpu_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return peak


class SpeedMonitor(pl.Callback):
    """A callback that measures the speed of training and logs it with the losses.

    The logged rates are those since the last logged step. The sums of the run are kept in each
    checkpoint, from which a resumed run continues, and in `speed.json`.

    Args:
        meter: The meter of the run.
        peak_tflops: The peak speed of a device in TFLOP/s; None: that of its name, if it is known.
        power_watts: The mean power of a device; None: that of its counter, if it has one.
    """

    def __init__(self, meter: SpeedMeter, *, peak_tflops: float | None, power_watts: float | None):
        self.meter = meter
        self.peak_tflops = peak_tflops
        self.power_watts = power_watts
        self._logged = SpeedTotals()
        self._logged_step = 0

    def on_load_checkpoint(self, trainer: pl.Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        # A checkpoint that is loaded for a test may be an earlier one.
        if trainer.state.fn == TrainerFn.FITTING and _SPEED_KEY in checkpoint:
            self.meter.continue_from(_read_totals(checkpoint[_SPEED_KEY]))

    def on_save_checkpoint(self, trainer: pl.Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        checkpoint[_SPEED_KEY] = asdict(self._write(trainer))

    def on_train_start(self, trainer: pl.Trainer, task: Any) -> None:
        self._logged_step = trainer.global_step
        self._flops = UsefulFlops(task.network)
        peak = find_peak(task.device, str(trainer.precision))
        self.meter.peak_tflops = peak if self.peak_tflops is None else self.peak_tflops
        self.meter.energy = find_energy_meter(task.device, power_watts=self.power_watts)

    def on_train_batch_start(self, _: Any, task: Any, *__: Any) -> None:
        flops = self._flops.count_step(task.batch_lengths)
        self.meter.add_batches(task.batch_lengths, useful_flops=flops)

    def on_train_batch_end(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        step, interval = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if step == self._logged_step or step % interval:
            return
        totals = self.meter.read(num_processes=trainer.world_size)
        rates = (totals - self._logged).rates()
        _log(task, {f"speed_{name}": value for name, value in rates.items()})
        self._logged, self._logged_step = totals, step

    def on_validation_start(self, *_: Any) -> None:
        self.meter.pause()

    def on_train_end(self, trainer: pl.Trainer, *_: Any) -> None:
        self.meter.pause()
        self._write(trainer)

    def _write(self, trainer: pl.Trainer) -> SpeedTotals:
        totals = self.meter.read_run()
        summary = {"num_steps": trainer.global_step, **totals.summary()}
        write_speed(Path(trainer.default_root_dir), summary)
        return totals


def _read_totals(content: Any) -> SpeedTotals:
    try:
        return _TOTALS.validate_python(content)
    except ValidationError as error:
        raise ValueError(
            "the state to resume from has sums of the speed of training that are not numbers. "
            "Resume from a checkpoint as a run wrote it."
        ) from error


def _log(task: pl.LightningModule, values: dict[str, float]) -> None:
    # Tensors on the CPU: Lightning would copy numbers to a GPU, and wait for it.
    task.log_dict({name: torch.tensor(each) for name, each in values.items()}, batch_size=1)
