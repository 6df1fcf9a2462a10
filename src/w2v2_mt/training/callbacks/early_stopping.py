"""Stop training early, once every task has stalled or a loss has diverged."""

import math
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.trainer.states import TrainerFn

from w2v2_mt.core.constraints import PositiveFloat, PositiveInt


@dataclass(kw_only=True, eq=False)
class StopWhenAllStalled(pl.Callback):
    """A callback that stops training when all monitored metrics have stalled or a loss diverges.

    Args:
        monitors: Metrics to minimize, which stall after `patience` validations without a new best.
        losses: Losses that diverge when they exceed `divergence_threshold` after they were below.
            (The margin puts a speaker loss above the threshold at first.) A validation without
            training speakers has no speaker loss, which then does not count.
    """

    monitors: list[str]
    patience: PositiveInt
    losses: list[str]
    divergence_threshold: PositiveFloat

    def __post_init__(self) -> None:
        self.monitored_metrics = [*self.monitors, *self.losses]
        self.best = dict.fromkeys(self.monitors, math.inf)
        self.num_stalled = dict.fromkeys(self.monitors, 0)
        self.has_been_below = dict.fromkeys(self.losses, False)

    def state_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("best", "num_stalled", "has_been_below")}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        vars(self).update(state_dict)

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.state.fn != TrainerFn.FITTING:
            return
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        for name in self.monitors:
            improved = metrics[name] < self.best[name]
            self.num_stalled[name] = 0 if improved else self.num_stalled[name] + 1
            self.best[name] = min(metrics[name], self.best[name])
        if all(stalled >= self.patience for stalled in self.num_stalled.values()):
            trainer.should_stop = True
        for name in [name for name in self.losses if name in metrics]:
            is_below = metrics[name] <= self.divergence_threshold
            self.has_been_below[name] |= is_below
            if math.isnan(metrics[name]) or (self.has_been_below[name] and not is_below):
                trainer.should_stop = True
