"""The learning-rate range test of a run: on its network and data, which are then as before."""

import json
import logging
import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from w2v2_mt.app.build import Job, Task
from w2v2_mt.app.instantiation import Config, instantiate
from w2v2_mt.app.random_states import random_states, set_random_states
from w2v2_mt.app.run_folder import LR_RANGE_FILE
from w2v2_mt.core.processes import mean_over_processes
from w2v2_mt.optim.range_test import HIGHEST_LR, LOWEST_LR, GrowingLearningRate, RangeTest

log = logging.getLogger(__name__)


class RangeCurve(pl.Callback):
    """Keeps learning rate and loss of each optimiser step, and ends the test where it diverges."""

    def __init__(self, *, num_steps: int):
        self.test = RangeTest(num_steps=num_steps, learning_rates=[], losses=[])
        self._lr = 0.0
        self._loss = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._lr = trainer.optimizers[0].param_groups[0]["lr"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning has divided it by the number of batches in a step.
        self._loss += float(mean_over_processes(outputs["loss"]))
        if trainer.global_step > len(self.test.losses):
            self.test = replace(
                self.test,
                learning_rates=[*self.test.learning_rates, self._lr],
                losses=[*self.test.losses, self._loss],
            )
            self._loss = 0.0
            trainer.should_stop = self.test.has_diverged


def run_range_test(job: Job, config: Config, folder: Path) -> RangeTest:
    """Train a copy of the task with a growing learning rate, and leave `lr_range.json`.

    The copy stays as frozen as a run begins. Weights, random states and the position in the data
    are afterwards what they were.
    """
    num_steps = config["lr_range_iterations"]
    curve = RangeCurve(num_steps=num_steps)
    states = random_states()
    task = _copied(job.task)
    trunk = task.network.trunk
    if trunk.freeze_schedule.is_frozen(0):
        trunk.freeze_schedule = replace(trunk.freeze_schedule, num_frozen_steps=None)
    task.optimisation = replace(
        task.optimisation,
        schedule=GrowingLearningRate(lowest_lr=LOWEST_LR, highest_lr=HIGHEST_LR),
        num_steps=num_steps,
    )
    trainer = instantiate(
        {
            **config["trainer"],
            "max_steps": num_steps,
            "step_limit": None,
            "enable_progress_bar": False,
        },
        folder=folder,
        loggers=[],
        callbacks=[],
    )
    trainer.callbacks = [curve]  # A loss that is no number ends the test, and not the run.
    trainer.limit_val_batches = 0
    log.info(f"learning-rate range test: {num_steps} steps")
    trainer.fit(task, job.data)
    set_random_states(states)
    if trainer.is_global_zero:
        _write(folder, curve.test, is_frozen=trunk.is_frozen)
        print(_told(curve.test, config, is_frozen=trunk.is_frozen), flush=True)
    return curve.test


def _copied(task: Task) -> Task:
    """Only what training changes: lists of trials and a language model may be large."""
    names = ("val_trials", "test_trials", "speech_evaluation", "speaker_evaluation")
    shared = [getattr(task, name) for name in names if hasattr(task, name)]
    return deepcopy(task, {id(each): each for each in shared})


def _write(folder: Path, test: RangeTest, *, is_frozen: bool) -> None:
    content = {
        "learning_rate": test.learning_rates,
        # JSON has no word for what is no number.
        "loss": [_number(loss) for loss in test.losses],
        "smoothed_loss": [_number(loss) for loss in test.smoothed_losses],
        "suggestion": test.suggestion,
        "has_diverged": test.has_diverged,
        "trunk_is_frozen": is_frozen,
        "source": "arXiv 1506.01186, section 3.3; arXiv 1803.09820",
    }
    (folder / LR_RANGE_FILE).write_text(json.dumps(content, indent=2) + "\n")


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _told(test: RangeTest, config: Config, *, is_frozen: bool) -> str:
    reached = f"{len(test.losses)} steps up to {test.learning_rates[-1]:.2g}"
    end = ", where it diverged" if test.has_diverged else ""
    if test.suggestion is None:
        advice = "the loss never fell, so there is no suggestion: try more lr_range_iterations"
    else:
        advice = f"the loss fell fastest at {test.suggestion:.3g}"
    frozen = ", with the frozen trunk that training begins with" if is_frozen else ""
    return (
        f"learning-rate range test (arXiv 1506.01186, 1803.09820): {advice} ({reached}{end}"
        f"{frozen}); optim.algo.lr stays {config['optim']['algo']['lr']}."
    )
