"""Trials sorted by score, which give the error rates at every threshold."""

import numpy as np
from jaxtyping import Bool, Float
from numpy.typing import ArrayLike

from w2v2_mt.core.units import count


class RankedTrials:
    """Trials whose scores are sorted once, for error rates under any weights of the trials.

    Weights have the order of `order`. Scores and labels are those of `validate_trials`.
    """

    def __init__(self, scores: ArrayLike, labels: ArrayLike):
        score_array, is_target = validate_trials(scores, labels)
        self.order = np.argsort(-score_array, kind="stable")
        ranked_scores = score_array[self.order]
        self._scores = score_array
        self._is_target = is_target[self.order].astype(np.float64)
        # Equal scores are accepted together, so that each run of them has one point, at its end.
        self._ends = np.append(np.flatnonzero(np.diff(ranked_scores)), len(self.order) - 1)
        self.thresholds = np.append(np.inf, ranked_scores[self._ends])

    def __len__(self) -> int:
        return len(self.order)

    def error_rates(
        self, weights: Float[np.ndarray, " trials"] | None = None
    ) -> tuple[Float[np.ndarray, " thresholds"], Float[np.ndarray, " thresholds"]]:
        """Return miss and false-alarm rates at each of `thresholds`, the first accepting nothing.

        Rates are NaN where target or non-target trials have no weight.
        """
        if weights is None:
            weights = np.ones(len(self))
        accepted = np.cumsum(weights)[self._ends]
        accepted_targets = np.cumsum(weights * self._is_target)[self._ends]
        accepted_impostors = accepted - accepted_targets
        miss_rates = 1 - np.append(0, accepted_targets) / accepted_targets[-1]
        return miss_rates, np.append(0, accepted_impostors) / accepted_impostors[-1]

    def equal_error_rate(
        self, weights: Float[np.ndarray, " trials"] | None = None
    ) -> tuple[float, float]:
        """Return the equal error rate and its threshold, interpolated between thresholds."""
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

    def influences(self) -> Float[np.ndarray, " trials"]:
        """Return how much each trial, in the order of the input, moves the equal error rate.

        A trial that is decided wrongly adds to one of the two rates, and the threshold moves until
        both are equal again. The share of misses in the result is the density of non-target scores
        at the threshold, divided by that of both kinds; densities are measured between the
        thresholds at which one of the two rates is half of the equal error rate. Influences of
        targets have the mean 0, and so have those of non-targets.
        """
        rate, threshold = self.equal_error_rate()
        miss_rates, false_alarm_rates = self.error_rates()
        edges = (
            int(np.argmax(false_alarm_rates >= rate / 2)),
            int(np.argmax(miss_rates <= rate / 2)),
        )
        first, last = max(min(edges) - 1, 0), max(edges)
        targets = miss_rates[first] - miss_rates[last]
        impostors = false_alarm_rates[last] - false_alarm_rates[first]
        share = impostors / (targets + impostors)
        is_target = np.empty(len(self), dtype=bool)
        is_target[self.order] = self._is_target == 1
        is_accepted = self._scores >= threshold
        influences = np.empty(len(self))
        for kind, weight in ((is_target, share), (~is_target, 1 - share)):
            is_wrong = is_accepted[kind] != is_target[kind]
            influences[kind] = weight * (is_wrong - is_wrong.mean()) / len(is_wrong)
        return influences


def validate_trials(
    scores: ArrayLike, labels: ArrayLike
) -> tuple[Float[np.ndarray, " trials"], Bool[np.ndarray, " trials"]]:
    """Return the scores as floats, and True for each target trial.

    Raises:
        ValueError: The input is not a finite score and a label, 1 for a target trial and 0 for a
            non-target trial, of each trial, or lacks trials of a kind.
    """
    score_array = np.asarray(scores, dtype=np.float64)
    label_array = np.asarray(labels, dtype=np.float64)
    if score_array.ndim != 1 or score_array.shape != label_array.shape:
        raise ValueError(
            f"scores have shape {score_array.shape} and labels {label_array.shape}, but every "
            "trial has one of each; pass both in the same order."
        )
    for name, values, is_valid, rule in (
        ("score", score_array, np.isfinite(score_array), "finite; look for NaN in the embeddings"),
        ("label", label_array, np.isin(label_array, (0, 1)), "1 (same speaker) or 0 (different)"),
    ):
        if not is_valid.all():
            first = int(np.argmin(is_valid))
            raise ValueError(f"{name} number {first} is {values[first]:g}, but must be {rule}.")
    is_target = label_array == 1
    for is_present, name in ((is_target.any(), "same speaker"), (not is_target.all(), "different")):
        if not is_present:
            raise ValueError(
                f"none of {count(len(label_array), 'trial')} has the label {name}, but an error "
                "rate needs both labels; pass trials of both kinds."
            )
    return score_array, is_target
