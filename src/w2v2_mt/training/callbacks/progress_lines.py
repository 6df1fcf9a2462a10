"""Print what a run trains on, its progress, and how it ended."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint, RichProgressBar
from pytorch_lightning.trainer.states import TrainerFn

from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.tasks.training_task import is_logging_step


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
        parts = [
            f"{meta[key]:,.{digits}f} {unit}"
            for key, unit, digits in (
                ("hours", "h", 1),
                ("num_speakers", "speakers", 0),
                ("num_utterances", "utterances", 0),
            )
            if isinstance(meta.get(key), (int, float))
        ]
        yield f"training data {name}: {', '.join(parts) or 'of unknown size'}"


def describe_duration(seconds: float) -> str:
    """Return a duration as hours, minutes and seconds, such as 1:02:03."""
    return str(timedelta(seconds=round(seconds)))


class RunProgressBar(RichProgressBar):
    """A progress bar of the whole run, as training data has no end and epochs no number."""

    def _get_train_description(self, current_epoch: int) -> str:
        return f"Run of {self.trainer.max_steps} steps"

    @property
    def total_train_batches(self) -> int | float:
        """Return the batches of the whole run, from which the bar computes the time left."""
        if isinstance(self.trainer.limit_train_batches, int):
            return super().total_train_batches  # An epoch of a few batches that are repeated.
        return self.trainer.max_steps * self.trainer.accumulate_grad_batches

    def get_metrics(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> dict[str, Any]:
        """Return the losses and the learning rate of the present step."""
        metrics = super().get_metrics(trainer, pl_module)
        metrics.pop("v_num", None)
        return {**metrics, "lr": trainer.optimizers[0].param_groups[0]["lr"]}


@dataclass(kw_only=True, eq=False)
class ProgressLines(pl.Callback):
    """A callback that prints the start, the progress and the end of training.

    A progress bar, where there is one, shows the losses of each step, so that lines of progress are
    only printed without it, at steps that are logged.

    Args:
        training_data: The metadata of each training set, by its name.
        min_interval_sec: The shortest time between two lines of progress.
    """

    training_data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    min_interval_sec: float = 30.0

    def on_train_start(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Print device, parameters, data and steps."""
        self._started = self._printed = time.monotonic()
        self._first_step = trainer.global_step
        self._num_samples = 0
        if not trainer.is_global_zero:
            return
        num_processes = f" x {trainer.world_size}" if trainer.world_size > 1 else ""
        print_visible(f"device: {task.device}{num_processes}, precision {trainer.precision}")
        print_visible(f"network: {describe_parameters(task)}")
        for line in describe_data(self.training_data):
            print_visible(line)
        print_visible(
            f"steps: {trainer.global_step} of {trainer.max_steps} done, a validation every "
            f"{trainer.val_check_batch} batches"
        )

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Print a line of progress if it is time."""
        batches = batch.values() if isinstance(batch, Mapping) else [batch]
        self._num_samples += sum(
            each.waveforms.numel() for each in batches if isinstance(each, WaveformBatch)
        )
        now = time.monotonic()
        is_due = now - self._printed >= self.min_interval_sec and is_logging_step(task)
        if is_due and trainer.is_global_zero and not _has_bar(trainer):
            self._printed = now
            print_visible(self.describe_progress(trainer, now - self._started))

    def describe_progress(self, trainer: pl.Trainer, elapsed_sec: float) -> str:
        """Return the losses, the rates of training and the time that is left, in one line."""
        num_steps = trainer.global_step - self._first_step
        values = [
            f"{name.removeprefix('train_')} {float(value):.4g}"
            for name, value in sorted(trainer.progress_bar_metrics.items())
            if name.startswith("train_")
        ]
        lr = trainer.optimizers[0].param_groups[0]["lr"]
        audio_rate = self._num_samples * trainer.world_size / SAMPLE_RATE_HZ / elapsed_sec
        left_sec = (trainer.max_steps - trainer.global_step) * elapsed_sec / max(1, num_steps)
        return (
            f"training step {trainer.global_step}/{trainer.max_steps}: {', '.join(values)}, "
            f"lr {lr:.3g}, {num_steps / elapsed_sec:.3g} steps/s, {audio_rate:.0f} s of audio/s, "
            f"{describe_duration(left_sec)} left"
        )

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Print the best value so far of the metric that chooses the checkpoint."""
        if trainer.state.fn != TrainerFn.FITTING or not trainer.is_global_zero:
            return
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                value = float(trainer.callback_metrics[callback.monitor])
                earlier = callback.best_model_score  # Compared with this validation later.
                if earlier is None or value < float(earlier):
                    print_visible(f"best {callback.monitor} so far: {value:.4g}, of this step")
                else:
                    print_visible(f"best {callback.monitor} so far: {float(earlier):.4g}")

    def on_train_end(self, trainer: pl.Trainer, task: pl.LightningModule) -> None:
        """Print the time that training took."""
        if trainer.is_global_zero:
            took = describe_duration(time.monotonic() - self._started)
            num_steps = trainer.global_step - self._first_step
            print_visible(f"trained {num_steps} steps in {took}")


def describe_test(metrics: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each error rate of a test, in percent, with its interval if it has one."""
    for name, value in metrics.items():
        is_rate = name.startswith(("test_wer_", "test_cer_", "test_eer_"))
        if not is_rate or not isinstance(value, float) or name.endswith(("_low", "_high")):
            continue
        low, high = metrics.get(f"{name}_low"), metrics.get(f"{name}_high")
        interval = "" if low is None or high is None else f" ({100 * low:.2f} to {100 * high:.2f})"
        yield f"{name}: {100 * value:.2f} %{interval}"


def print_end(metrics: Mapping[str, Any], report: Path) -> None:
    """Print the error rates of a test and the path of the report."""
    for line in describe_test(metrics):
        print_visible(line)
    print_visible(f"report: {report}")


def _has_bar(trainer: pl.Trainer) -> bool:
    return trainer.progress_bar_callback is not None
