"""The learning-rate range test: a learning rate that grows, and the loss at each of its values.

Source: arXiv 1506.01186, section 3.3, and arXiv 1803.09820. Suggesting the steepest descent is not
in these papers, but what later practice made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2v2_mt.core.constraints import PositiveFloat, PositiveInt
from w2v2_mt.optim.schedules import StepSchedule

LOWEST_LR = 1e-7
HIGHEST_LR = 10.0

_SMOOTHED_SHARE = 0.025
"""Share of the steps of a test on each side of a smoothed loss: 50 of 1,000."""


@dataclass(frozen=True, kw_only=True)
class GrowingLearningRate(StepSchedule):
    """A learning rate that grows from the lowest to the highest by the same factor at each step."""

    lowest_lr: PositiveFloat
    highest_lr: PositiveFloat

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        progress = min(step / max(1, num_steps - 1), 1.0)
        lr: float = self.lowest_lr * (self.highest_lr / self.lowest_lr) ** progress
        return lr / peak_lr


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """The loss at each learning rate of a test of `num_steps`, up to the step that diverged."""

    num_steps: int
    learning_rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed_losses(self) -> list[float]:
        """Return each loss averaged with as many losses before as after it, fewer at the ends.

        A centered mean belongs to its own learning rate, not to an earlier one.
        """
        # Only the last loss may be NaN or infinite: the test ended there.
        finite = [loss for loss in self.losses if np.isfinite(loss)]
        smoothed = []
        for index in range(len(finite)):
            reach = min(self._reach, index, len(finite) - 1 - index)
            smoothed.append(float(np.mean(finite[index - reach : index + reach + 1])))
        return [*smoothed, *self.losses[len(finite) :]]

    @property
    def has_diverged(self) -> bool:
        """Return True if the last loss is NaN or infinite, or the mean of the last ones diverged.

        It diverged if it is above the best such mean by as much as the first one is above 0:
        losses may be negative.
        """
        if not np.isfinite(self.losses).all():
            return True
        length = 2 * self._reach + 1
        if len(self.losses) < length:
            return False
        means = np.convolve(self.losses, np.full(length, 1 / length), mode="valid")
        return bool(means[-1] > means.min() + abs(means[0]))

    @property
    def suggestion(self) -> float | None:
        """The learning rate at which the smoothed loss falls fastest, before its minimum.

        Over the logarithm of the learning rate. None where it never falls.
        """
        smoothed = np.asarray(self.smoothed_losses)
        smoothed = smoothed[np.isfinite(smoothed)]
        if len(smoothed) < 2:
            return None
        slopes = np.gradient(smoothed, np.log(self.learning_rates[: len(smoothed)]))
        slopes = slopes[: int(smoothed.argmin())]
        if not len(slopes) or slopes.min() >= 0:
            return None
        return float(self.learning_rates[int(slopes.argmin())])

    @property
    def _reach(self) -> int:
        return max(1, round(_SMOOTHED_SHARE * self.num_steps))
