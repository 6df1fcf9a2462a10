"""Learning-rate schedules.

Each is a pure function of the step that returns a factor of the peak learning rate `lr`, and a
small class that holds the settings of a config for it. Steps before the first or behind the last
count as the first or the last. A learning rate of a setting never exceeds the peak: it is lowered
to the peak.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from w2v2_mt.core.constraints import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    ShrinkingFactor,
)


@runtime_checkable
class Schedule(Protocol):
    """What the schedules that depend on the step alone have in common."""

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        """The learning rate of `step` of `num_steps`, over `peak_lr`."""


def constant(step: int) -> float:
    """The peak at every step."""
    return 1.0


def tri_stage(
    step: int,
    *,
    num_steps: PositiveInt,
    lr: PositiveFloat,
    initial_lr: NonNegativeFloat,
    final_lr: PositiveFloat,
    warmup_fraction: Probability,
    constant_fraction: Probability,
) -> float:
    """Linear from `initial_lr` to the peak, then constant, then exponential to `final_lr`.

    The fractions are of `num_steps`; the last stage takes the steps that they leave.
    Raises ValueError when they leave less than nothing. Source: arXiv 1904.08779, section 3.2.
    """
    _check_fractions(warmup_fraction, constant_fraction)
    progress = _progress(step, num_steps)
    decay_start = warmup_fraction + constant_fraction
    if progress < warmup_fraction:
        start = _factor_of(initial_lr, lr)
        return start + (1 - start) * progress / warmup_fraction
    if progress <= decay_start:
        return 1.0
    return _factor_of(final_lr, lr) ** ((progress - decay_start) / (1 - decay_start))


def exp_decay(
    step: int, *, num_steps: PositiveInt, lr: PositiveFloat, final_lr: PositiveFloat
) -> float:
    """Exponential from the peak at the first step to `final_lr` at the last."""
    return _factor_of(final_lr, lr) ** _progress(step, num_steps)


def one_cycle(
    step: int,
    *,
    num_steps: PositiveInt,
    lr: PositiveFloat,
    initial_lr: NonNegativeFloat,
    final_lr: NonNegativeFloat,
    warmup_fraction: Probability,
) -> float:
    """Half a cosine up from `initial_lr` to the peak, then half a cosine down to `final_lr`.

    Source: arXiv 1708.07120, with cosines in place of straight lines.
    """
    progress = _progress(step, num_steps)
    if progress < warmup_fraction:
        return _half_cosine(_factor_of(initial_lr, lr), 1.0, progress / warmup_fraction)
    if progress == warmup_fraction:
        return 1.0
    way = (progress - warmup_fraction) / (1 - warmup_fraction)
    return _half_cosine(1.0, _factor_of(final_lr, lr), way)


def cyclic(
    step: int,
    *,
    num_steps: PositiveInt,
    lr: PositiveFloat,
    lowest_lr: NonNegativeFloat,
    num_cycles: PositiveInt,
) -> float:
    """`num_cycles` equal triangles, each linear from `lowest_lr` to the peak and back.

    Source: arXiv 1506.01186, the policy "triangular".
    """
    position = (_progress(step, num_steps) * num_cycles) % 1
    height = 1 - abs(2 * position - 1)
    lowest = _factor_of(lowest_lr, lr)
    return lowest + (1 - lowest) * height


@dataclass(frozen=True, kw_only=True)
class Constant:
    """See constant()."""

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return constant(step)


@dataclass(frozen=True, kw_only=True)
class TriStage:
    """See tri_stage()."""

    initial_lr: NonNegativeFloat
    final_lr: PositiveFloat
    warmup_fraction: Probability
    constant_fraction: Probability

    def __post_init__(self) -> None:
        _check_fractions(self.warmup_fraction, self.constant_fraction)

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return tri_stage(
            step,
            num_steps=num_steps,
            lr=peak_lr,
            initial_lr=self.initial_lr,
            final_lr=self.final_lr,
            warmup_fraction=self.warmup_fraction,
            constant_fraction=self.constant_fraction,
        )


@dataclass(frozen=True, kw_only=True)
class ExponentialDecay:
    """See exp_decay()."""

    final_lr: PositiveFloat

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return exp_decay(step, num_steps=num_steps, lr=peak_lr, final_lr=self.final_lr)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """See one_cycle()."""

    initial_lr: NonNegativeFloat
    final_lr: NonNegativeFloat
    warmup_fraction: Probability

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return one_cycle(
            step,
            num_steps=num_steps,
            lr=peak_lr,
            initial_lr=self.initial_lr,
            final_lr=self.final_lr,
            warmup_fraction=self.warmup_fraction,
        )


@dataclass(frozen=True, kw_only=True)
class Cyclic:
    """See cyclic()."""

    lowest_lr: NonNegativeFloat
    num_cycles: PositiveInt

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        return cyclic(
            step,
            num_steps=num_steps,
            lr=peak_lr,
            lowest_lr=self.lowest_lr,
            num_cycles=self.num_cycles,
        )


@dataclass(frozen=True, kw_only=True)
class ReduceOnPlateau:
    """Multiply the learning rate by `factor` after more than `patience` validations in a row
    without a lower metric, down to `min_lr`. It follows a metric and not the step: it is no
    Schedule but builds torch's scheduler.

    Raises ValueError for a factor outside (0, 1).
    """

    factor: ShrinkingFactor
    patience: NonNegativeInt
    min_lr: NonNegativeFloat

    def __post_init__(self) -> None:
        if not 0 < self.factor < 1:
            raise ValueError(
                f"factor is {self.factor}, but what reduces the learning rate lies between 0 and "
                "1, both excluded; use for example 0.5."
            )

    def build(self, optimizer: Optimizer) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(
            optimizer, mode="min", factor=self.factor, patience=self.patience, min_lr=self.min_lr
        )


def _progress(step: int, num_steps: PositiveInt) -> float:
    if num_steps < 1:
        raise ValueError(
            f"num_steps is {num_steps}, but a schedule spans at least 1 step; set "
            "trainer.max_steps to the number of steps of the run."
        )
    return min(max(step, 0), num_steps) / num_steps


def _factor_of(endpoint_lr: NonNegativeFloat, lr: PositiveFloat) -> float:
    return min(endpoint_lr / lr, 1.0)


def _half_cosine(start: float, end: float, way: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * way)) / 2


def _check_fractions(warmup_fraction: Probability, constant_fraction: Probability) -> None:
    if warmup_fraction + constant_fraction > 1:
        raise ValueError(
            f"warmup_fraction is {warmup_fraction} and constant_fraction {constant_fraction}, but "
            "together they are at most 1; lower one of them."
        )
