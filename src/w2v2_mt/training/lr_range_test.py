"""The learning-rate range test of a run: on its network and data, which are then as before."""

import json
import logging
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities.seed import isolate_rng

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.distributed import mean_over_processes
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count
from w2v2_mt.optim.lr_range_test import HIGHEST_LR, LOWEST_LR, GrowingLearningRate, RangeTest
from w2v2_mt.runs.run_folder import LR_RANGE_FILE
from w2v2_mt.settings.instantiation import Config, instantiate
from w2v2_mt.tasks.training_task import TrainingTask

log = logging.getLogger(__name__)


class RangeCurve(pl.Callback):
    """A callback that records learning rate and loss per step and ends a test that diverges."""

    def __init__(self, *, num_steps: int):
        self.learning_rates: list[float] = []
        self.losses: list[float] = []
        self.test = RangeTest(
            num_steps=num_steps, learning_rates=self.learning_rates, losses=self.losses
        )
        self._lr = 0.0
        self._loss = 0.0

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(self, trainer: pl.Trainer, _: Any, outputs: Any, *__: Any) -> None:
        # Lightning has divided it by the number of batches in a step.
        self._loss += float(mean_over_processes(outputs["loss"]))
        if trainer.global_step > len(self.losses):
            self.learning_rates.append(self._lr)
            self.losses.append(self._loss)
            self._loss = 0.0
            trainer.should_stop = self.test.has_diverged


def run_range_test(
    task: TrainingTask, data: pl.LightningDataModule, config: Config, folder: Path
) -> None:
    """Train a copy of the task with a growing learning rate, and leave `lr_range.json`.

    The copy stays as frozen as a run begins. Weights, random states and the position in the data
    do not change.
    """
    num_steps = config["lr_range_iterations"]
    curve = RangeCurve(num_steps=num_steps)
    # Evaluations, which training does not change, hold trials and language models, which are large.
    task = deepcopy(task, {id(each): each for each in task.evaluation.by_task.values()})
    trunk = task.network.trunk
    if trunk.num_frozen_steps > 0:
        trunk.num_frozen_steps = math.inf
    task.optimization = replace(
        task.optimization,
        schedule=GrowingLearningRate(lowest_lr=LOWEST_LR, highest_lr=HIGHEST_LR),
        num_steps=num_steps,
    )
    steps = {"max_steps": num_steps, "val_check_interval": num_steps, "step_limit": None}
    trainer = instantiate({**config["trainer"], **steps}).build(
        folder=folder, loggers=[], callbacks=[], profiler=None
    )
    trainer.callbacks = [curve]  # A loss that is NaN ends the test, not the run.
    trainer.limit_val_batches = 0
    log.info(f"learning-rate range test: {count(num_steps, 'step')}")
    with isolate_rng():
        trainer.fit(task, data)
    if trainer.is_global_zero:
        test = curve.test
        losses, smoothed_losses = (
            [loss if math.isfinite(loss) else None for loss in each]  # JSON has no NaN.
            for each in (test.losses, test.smoothed_losses)
        )
        content = {
            "learning_rate": test.learning_rates,
            "loss": losses,
            "smoothed_loss": smoothed_losses,
            "suggestion": test.suggestion,
            "has_diverged": test.has_diverged,
            "trunk_is_frozen": trunk.is_frozen,
            "source": "arXiv 1506.01186, section 3.3; arXiv 1803.09820",
        }
        replace_text(folder / LR_RANGE_FILE, json.dumps(content, indent=2) + "\n")
        print_visible(_describe(test, config, is_frozen=trunk.is_frozen))


def _describe(test: RangeTest, config: Config, *, is_frozen: bool) -> str:
    reached = f"{count(len(test.losses), 'step')} up to {test.learning_rates[-1]:.2g}"
    end = ", where it diverged" if test.has_diverged else ""
    if test.suggestion is None:
        advice = "the loss never fell, so it suggests none: try more lr_range_iterations"
    else:
        advice = f"the loss fell fastest at {test.suggestion:.3g}"
    frozen = ", with the frozen trunk that training begins with" if is_frozen else ""
    return (
        f"learning-rate range test (arXiv 1506.01186, 1803.09820): {advice} ({reached}{end}"
        f"{frozen}); optim.algo.lr stays {config['optim']['algo']['lr']}."
    )
