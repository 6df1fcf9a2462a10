"""Trials in the order of their scores, from which the errors at every threshold are read."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike


class RankedTrials:
    """Scores sorted once; how much each trial counts may then be said again and again.

    Args:
        scores: Of each trial, finite.
        labels: 1 for a trial of one speaker, 0 for one of two.

    Raises ValueError for input that has no error rates.
    """

    def __init__(self, scores: ArrayLike, labels: ArrayLike):
        score_array, is_target = checked_trials(scores, labels)
        self.order = np.argsort(-score_array, kind="stable")
        ranked_scores = score_array[self.order]
        self._is_target = is_target[self.order].astype(np.float64)
        # Equal scores are accepted together: a point stands at the last of each run of them.
        self._ends = np.append(np.flatnonzero(np.diff(ranked_scores)), len(self.order) - 1)
        self.thresholds = np.append(np.inf, ranked_scores[self._ends])

    def __len__(self) -> int:
        return len(self.order)

    def error_rates(
        self, weights: Float[np.ndarray, " trials"] | None = None
    ) -> tuple[Float[np.ndarray, " thresholds"], Float[np.ndarray, " thresholds"]]:
        """Miss and false-alarm rate at each of `thresholds`, from accepting nothing on.

        Args:
            weights: How much each trial counts, in the order of `order`; none means equally much.
        """
        if weights is None:
            weights = np.ones(len(self))
        target_weights = weights * self._is_target
        accepted = np.cumsum(weights)[self._ends]
        accepted_targets = np.cumsum(target_weights)[self._ends]
        accepted_impostors = accepted - accepted_targets
        miss_rates = 1 - np.append(0, accepted_targets) / accepted_targets[-1]
        return miss_rates, np.append(0, accepted_impostors) / accepted_impostors[-1]

    def equal_error_rate(
        self, weights: Float[np.ndarray, " trials"] | None = None
    ) -> tuple[float, float]:
        """The rate and its threshold, on the straight lines between neighbouring thresholds."""
        miss_rates, false_alarm_rates = self.error_rates(weights)

        # The gap falls from 1 (accept nothing) to -1 (accept everything).
        gaps = miss_rates - false_alarm_rates
        after = int(np.argmax(gaps <= 0))
        before = after - 1
        way = gaps[before] / (gaps[before] - gaps[after])

        rate = (1 - way) * false_alarm_rates[before] + way * false_alarm_rates[after]
        thresholds = self.thresholds
        if before == 0:  # "accept nothing" has no finite threshold to start from
            return float(rate), float(thresholds[after])
        return float(rate), float((1 - way) * thresholds[before] + way * thresholds[after])

    def have_both_kinds(self, weights: Float[np.ndarray, " trials"]) -> bool:
        """True when trials of one speaker and trials of two count at all."""
        target_weight = weights @ self._is_target
        return bool(0 < target_weight < weights.sum())


def checked_trials(
    scores: ArrayLike, labels: ArrayLike
) -> tuple[Float[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """Scores, and whether each is of one speaker. Raises ValueError where that cannot be."""
    score_array = np.asarray(scores, dtype=np.float64)
    label_array = np.asarray(labels, dtype=np.float64)

    if score_array.ndim != 1 or label_array.ndim != 1:
        raise ValueError(
            f"scores have shape {score_array.shape} and labels {label_array.shape}, but both are "
            "one-dimensional; pass one score and one label per trial."
        )
    if len(score_array) != len(label_array):
        raise ValueError(
            f"there are {len(score_array)} scores and {len(label_array)} labels, but every trial "
            "has one of each; pass both in the same order."
        )
    if len(score_array) == 0:
        raise ValueError(
            "there are no scores, but an error rate needs trials; pass at least one trial with "
            "the same speaker and one with different speakers."
        )
    finite = np.isfinite(score_array)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"score number {first} is {score_array[first]}, but scores are finite; look for NaN "
            "or infinite values in the embeddings."
        )
    allowed = (label_array == 0) | (label_array == 1)
    if not allowed.all():
        first = int(np.argmin(allowed))
        raise ValueError(
            f"label number {first} is {label_array[first]:g}, but a label is 1 (same speaker) or "
            "0 (different speakers); recode the labels."
        )
    is_target = label_array == 1
    for present, name in ((is_target.any(), "same speaker"), (not is_target.all(), "different")):
        if not present:
            raise ValueError(
                f"none of the {len(label_array)} trials has the label {name}, but an error rate "
                "needs both labels; pass trials of both kinds."
            )
    return score_array, is_target
