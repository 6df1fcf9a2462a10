"""The learning-rate range test: a learning rate that grows, and what the loss says about it.

Source: arXiv 1506.01186, section 3.3, and arXiv 1803.09820. The steepest descent as the place to
read off, which is not in these papers, is what later practice made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from w2v2_mt.core.constraints import PositiveFloat, PositiveInt

LOWEST_LR = 1e-7
HIGHEST_LR = 10.0

_SMOOTHED_SHARE = 0.025
"""Of the steps of a test, to each side: 50 of 1,000 make one smoothed loss."""


@dataclass(frozen=True, kw_only=True)
class GrowingLearningRate:
    """From the lowest learning rate to the highest, by the same factor at every step."""

    lowest_lr: PositiveFloat
    highest_lr: PositiveFloat

    def factor(self, step: int, *, num_steps: PositiveInt, peak_lr: PositiveFloat) -> float:
        """The learning rate of `step` of `num_steps`, over `peak_lr`."""
        progress = min(step / max(1, num_steps - 1), 1.0)
        lr: float = self.lowest_lr * (self.highest_lr / self.lowest_lr) ** progress
        return lr / peak_lr


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """What a test of `num_steps` saw: the loss at each learning rate, up to where it diverged."""

    num_steps: int
    learning_rates: Sequence[float]
    losses: Sequence[float]

    @property
    def smoothed_losses(self) -> list[float]:
        """Each the mean of as many losses before it as behind it, fewer towards the ends.

        So a smoothed loss belongs to its learning rate, and not to one that is past.
        """
        # Only the last one may be no number: the test ended there.
        finite = [loss for loss in self.losses if np.isfinite(loss)]
        last = len(finite) - 1
        widths = [min(self._reach, index, last - index) for index in range(last + 1)]
        smoothed = [
            float(np.mean(finite[index - width : index + width + 1]))
            for index, width in enumerate(widths)
        ]
        return [*smoothed, *self.losses[len(finite) :]]

    @property
    def has_diverged(self) -> bool:
        """Whether the last loss is NaN or infinite, or the mean of the last ones has run away.

        That is so where it is above the best such mean by as much as the first one is above 0:
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
