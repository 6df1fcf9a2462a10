"""Print what a run trains on, its progress, its validations and the time that it took."""

import math
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from rich.table import Table

from w2v2_mt.core.console import plain_console, print_table
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count, is_rate
from w2v2_mt.tasks.training_task import is_logging_step
from w2v2_mt.training.energy_meter import JOULES_PER_KWH
from w2v2_mt.training.progress_bar import TerminalBar
from w2v2_mt.training.speed_meter import SpeedMeter

_BAR_INTERVAL_SEC = 0.2


def describe_parameters(task: pl.LightningModule) -> str:
    """Return the number of parameters of the network, in millions, and how many are trained.

    A part that is frozen for the first steps counts as frozen.
    """
    sizes = {True: 0, False: 0}
    for parameter in task.parameters():
        sizes[parameter.requires_grad] += parameter.numel()
    return (
        f"{sum(sizes.values()) / 1e6:.1f} M parameters, {sizes[True] / 1e6:.1f} M trained and "
        f"{sizes[False] / 1e6:.1f} M frozen"
    )


def describe_data(metadata: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield a line for each training set of which `meta.json` states the size."""
    for name, meta in metadata.items():
        parts = []
        if isinstance(hours := meta.get("hours"), (int, float)):
            parts.append(f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:.1f} min")
        parts += [
            f"{meta[key]:,.0f} {unit}"
            for key, unit in (("num_speakers", "speakers"), ("num_utterances", "utterances"))
            if isinstance(meta.get(key), (int, float))
        ]
        yield f"training data {name}: {', '.join(parts) or 'of unknown size'}"


class ProgressLines(pl.Callback):
    """A callback that prints the start, the progress, the validations and the end of training.

    Args:
        meter: The meter of the speed of this run.
        training_data: The metadata of each training set, by its name.
        interval_sec: The shortest time between two lines of progress, at steps that are logged.
        has_bar: Show a bar instead of lines of progress, if the terminal can.
    """

    def __init__(
        self,
        *,
        meter: SpeedMeter,
        training_data: Mapping[str, Mapping[str, Any]],
        interval_sec: float,
        has_bar: bool,
    ):
        self.meter = meter
        self.training_data = training_data
        self._console = plain_console()
        # Some terminals, such as that of Emacs, cannot move the cursor.
        self.has_bar = has_bar and not self._console.is_dumb_terminal
        self.interval_sec = _BAR_INTERVAL_SEC if self.has_bar else interval_sec
        self._bar: TerminalBar | None = None

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Print device, parameters, data and steps."""
        self._started = time.monotonic()
        self._printed = -math.inf if self.has_bar else self._started
        self._first_step = trainer.global_step
        if not trainer.is_global_zero:
            return
        num_processes = f" x {trainer.world_size}" if trainer.world_size > 1 else ""
        print_visible(f"device: {task.device}{num_processes}, precision {trainer.precision}")
        print_visible(f"network: {describe_parameters(task)}")
        for line in describe_data(self.training_data):
            print_visible(line)
        num_batches: Any = trainer.val_check_batch
        print_visible(
            f"steps: {trainer.global_step} of {trainer.max_steps} done, a validation every "
            f"{count(num_batches, 'batch', 'batches')}"
        )
        self._open_bar(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, task: pl.LightningModule, *_: Any) -> None:
        """Show losses, rates and the time left, if it is time."""
        now = time.monotonic()
        is_shown = trainer.is_global_zero and (self._bar is not None or is_logging_step(task))
        if not is_shown or now - self._printed < self.interval_sec:
            return
        self._printed = now
        step, max_steps = trainer.global_step, trainer.max_steps
        losses, progress = _describe_losses(trainer), self._describe_progress(trainer, now)
        speed = self.meter.read(num_processes=trainer.world_size).describe()
        if self._bar is None:
            print_visible(f"training step {step}/{max_steps}: {losses}, {progress}, {speed}")
        else:
            below = f"{losses}\n{speed}"
            self._bar.show(f"step {step}/{max_steps}", step, max_steps, progress, below=below)

    def _describe_progress(self, trainer: pl.Trainer, now: float) -> str:
        """Return the steps per second and the time until the end of the run."""
        elapsed_sec = now - self._started
        num_steps = trainer.global_step - self._first_step
        left_sec = (trainer.max_steps - trainer.global_step) * elapsed_sec / max(1, num_steps)
        return f"{num_steps / elapsed_sec:.3g} steps/s, {_describe_duration(left_sec)} left"

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Print the metrics, and the best value so far of the one that chooses the checkpoint."""
        if trainer.state.fn != TrainerFn.FITTING or not trainer.is_global_zero:
            return
        best = {
            callback.monitor: callback.best_model_score  # It does not have this validation yet.
            for callback in trainer.checkpoint_callbacks
            if isinstance(callback, ModelCheckpoint)
        }
        title = f"step {trainer.global_step}: validation"
        table = Table("dev metric", title=title, title_justify="left")
        table.add_column("value", justify="right")
        table.add_column("best so far", justify="right")
        for name, value in sorted(trainer.callback_metrics.items()):
            if name.startswith("val_"):
                number, earlier = float(value), best.get(name)
                lowest = number if earlier is None else min(number, float(earlier))
                table.add_row(
                    name.removeprefix("val_"),
                    _format(name, number),
                    _format(name, lowest) if name in best else "",
                )
        print_table(self._console, table)

    def on_train_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Print the time that training took."""
        self._close_bar()
        if trainer.is_global_zero:
            duration = _describe_duration(time.monotonic() - self._started)
            num_steps = trainer.global_step - self._first_step
            speed = self.meter.read(num_processes=trainer.world_size)
            energy = f", {kwh:.3g} kWh" if (kwh := speed.energy_joules / JOULES_PER_KWH) else ""
            print_visible(
                f"trained {count(num_steps, 'step')} in {duration}: {speed.describe()}{energy}"
            )

    def on_test_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        self._open_bar(trainer)

    def on_validation_batch_end(self, *arguments: Any) -> None:
        self._show_evaluation("validation", *arguments)

    def on_test_batch_end(self, *arguments: Any) -> None:
        self._show_evaluation("test", *arguments)

    def teardown(self, *_: Any, **__: Any) -> None:
        self._close_bar()

    on_exception = teardown

    def _show_evaluation(
        self, kind: str, _: Any, __: Any, ___: Any, batch: Any, batch_idx: int, *____: Any
    ) -> None:
        # Sets of evaluation end where their data do, so that a total is not known.
        if self._bar is not None:
            text = f"set {batch.set_name}, batch {batch_idx + 1}"
            self._bar.show(kind, 0, None, text)

    def _open_bar(self, trainer: pl.Trainer) -> None:
        if self.has_bar and trainer.is_global_zero:
            self._bar = TerminalBar(self._console)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _describe_losses(trainer: pl.Trainer) -> str:
    values = [
        f"{name.removeprefix('train_')} {float(value):.4g}"
        for name, value in sorted(trainer.callback_metrics.items())
        if name.startswith("train_") and name.endswith("loss")
    ]
    return ", ".join([*values, f"lr {trainer.optimizers[0].param_groups[0]['lr']:.3g}"])


def _describe_duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


def _format(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if is_rate(name) else f"{value:.4g}"
