"""Learning-rate schedules: their settings, and the factor of the peak learning rate at each step.

A learning rate in the settings of a schedule never exceeds the peak: it is lowered to the peak.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from w2v2_mt.core.constraints import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    ShrinkingFactor,
)
from w2v2_mt.core.registry import Registry


class Schedule(ABC):
    """A schedule of the learning rate over the optimizer steps of a run."""

    spans_all_steps = True
    """False if a resumed run may have another number of steps."""

    @abstractmethod
    def build(
        self, optimizer: Optimizer, *, num_steps: int, monitor: str, validation_interval: int
    ) -> dict[str, Any]:
        """Return the `lr_scheduler` part of what `configure_optimizers` of Lightning returns.

        Args:
            optimizer: The optimizer, with the peak learning rates.
            num_steps: The optimizer steps of the whole run.
            monitor: The validation metric of which lower is better.
            validation_interval: The number of batches between two validations.
        """


class StepSchedule(Schedule):
    """A schedule that depends on the number of the optimizer step alone."""

    @abstractmethod
    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        """Return the learning rate of a step divided by the peak.

        Args:
            step: The number of the step. One below 0 or above `num_steps` counts as the nearest.
            num_steps: The optimizer steps of the whole run.
        """

    def build(
        self, optimizer: Optimizer, *, num_steps: int, monitor: str, validation_interval: int
    ) -> dict[str, Any]:
        peak_lr = optimizer.param_groups[0]["lr"]
        scheduler = LambdaLR(
            optimizer, lambda step: self.factor(step, num_steps=num_steps, peak_lr=peak_lr)
        )
        return {"scheduler": scheduler, "interval": "step"}


SCHEDULES: Registry[type[Schedule]] = Registry("schedule", setting="optim/schedule")


@SCHEDULES.register("constant")
@dataclass(frozen=True, kw_only=True)
class Constant(StepSchedule):
    """The peak at every step."""

    spans_all_steps = False

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return 1.0


@SCHEDULES.register("tri_stage")
@dataclass(frozen=True, kw_only=True)
class TriStage(StepSchedule):
    """Linear from `initial_lr` to the peak, then constant, then exponential to `final_lr`.

    The fractions are those of the steps; the decay takes the rest.

    Source: arXiv 1904.08779, section 3.2.
    """

    initial_lr: NonNegativeFloat
    final_lr: PositiveFloat
    warmup_fraction: Probability
    constant_fraction: Probability

    def __post_init__(self) -> None:
        if self.warmup_fraction + self.constant_fraction > 1:
            raise ValueError(
                f"warmup_fraction ({self.warmup_fraction}) plus constant_fraction "
                f"({self.constant_fraction}) must be at most 1. Lower one of them."
            )

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        progress = _progress(step, num_steps)
        decay_start = self.warmup_fraction + self.constant_fraction
        if progress < self.warmup_fraction:
            start = min(self.initial_lr / peak_lr, 1.0)
            return start + (1 - start) * progress / self.warmup_fraction
        if progress <= decay_start:
            return 1.0
        final = min(self.final_lr / peak_lr, 1.0)
        return final ** ((progress - decay_start) / (1 - decay_start))


def tri_stage(step: int, *, num_steps: PositiveInt, lr: PositiveFloat, **settings: float) -> float:
    """Return the factor of `TriStage(**settings)` at a step of a run with the peak `lr`."""
    return TriStage(**settings).factor(step, num_steps=num_steps, peak_lr=lr)


@SCHEDULES.register("exp_decay")
@dataclass(frozen=True, kw_only=True)
class ExponentialDecay(StepSchedule):
    """Exponential from the peak at the first step to `final_lr` at the last."""

    final_lr: PositiveFloat

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return min(self.final_lr / peak_lr, 1.0) ** _progress(step, num_steps)


@SCHEDULES.register("one_cycle")
@dataclass(frozen=True, kw_only=True)
class OneCycle(StepSchedule):
    """Half a cosine up from `initial_lr` to the peak, then half a cosine down to `final_lr`.

    Source: arXiv 1708.07120, with cosines in place of straight lines.
    """

    initial_lr: NonNegativeFloat
    final_lr: NonNegativeFloat
    warmup_fraction: Probability

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        progress, peak_at = _progress(step, num_steps), self.warmup_fraction
        if progress == peak_at:
            return 1.0
        if progress < peak_at:
            start, end, position = min(self.initial_lr / peak_lr, 1.0), 1.0, progress / peak_at
        else:
            start, end = 1.0, min(self.final_lr / peak_lr, 1.0)
            position = (progress - peak_at) / (1 - peak_at)
        return end + (start - end) * (1 + math.cos(math.pi * position)) / 2


@SCHEDULES.register("cyclic")
@dataclass(frozen=True, kw_only=True)
class Cyclic(StepSchedule):
    """Equal triangles, each linear from `lowest_lr` to the peak and back.

    Source: arXiv 1506.01186, the policy "triangular".
    """

    lowest_lr: NonNegativeFloat
    num_cycles: PositiveInt

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        position = (_progress(step, num_steps) * self.num_cycles) % 1
        lowest = min(self.lowest_lr / peak_lr, 1.0)
        return lowest + (1 - lowest) * (1 - abs(2 * position - 1))


@SCHEDULES.register("reduce_on_plateau")
@dataclass(frozen=True, kw_only=True)
class ReduceOnPlateau(Schedule):
    """A learning rate that is multiplied by `factor` when the metric has stopped falling.

    Args:
        patience: The number of validations in a row without a lower metric that are accepted.
    """

    factor: ShrinkingFactor
    patience: NonNegativeInt
    min_lr: NonNegativeFloat
    spans_all_steps = False

    def build(
        self, optimizer: Optimizer, *, num_steps: int, monitor: str, validation_interval: int
    ) -> dict[str, Any]:
        scheduler = ReduceLROnPlateau(
            optimizer, mode="min", factor=self.factor, patience=self.patience, min_lr=self.min_lr
        )
        timing = {"interval": "step", "frequency": validation_interval}
        return {"scheduler": scheduler, "monitor": monitor, **timing}


def _progress(step: int, num_steps: PositiveInt) -> float:
    if num_steps < 1:
        raise ValueError(f"num_steps ({num_steps}) must be at least 1. Raise trainer.max_steps.")
    return min(max(step, 0), num_steps) / num_steps
