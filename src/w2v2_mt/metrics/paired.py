"""How far the error rates of two systems lie apart on the same data, and whether by chance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from w2v2_mt.metrics.bootstrap import (
    Interval,
    Rate,
    check_several_speakers,
    interval_of,
    resampled_rates,
    trial_weights,
    widening,
)
from w2v2_mt.metrics.ranked_trials import RankedTrials


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """The second rate less the first, as a fraction: below 0, the second system errs less."""

    difference: float
    interval: Interval
    """Of 95 %."""
    p_value: float
    """How often a difference so large, in either direction, is drawn where there is none."""


def error_rate_difference(
    num_errors: tuple[ArrayLike, ArrayLike],
    num_references: ArrayLike,
    speakers: Sequence[str],
    *,
    num_resamples: int,
    seed: int,
) -> PairedDifference:
    """Of two systems that recognised the same utterances.

    Speakers are drawn with replacement, each with all utterances, for both systems alike: what is
    hard for both is no uncertainty of their difference.

    Args:
        num_errors: Of each utterance, for the first and for the second system.
        num_references: How many words the reference of each utterance has.
        speakers: Who speaks each utterance.

    Raises ValueError for counts that do not belong together or fewer than two speakers. Source:
    Bisani & Ney, Bootstrap estimates for confidence intervals in ASR performance evaluation,
    ICASSP 2004, section 4.
    """
    first, second, references = (
        np.asarray(counts, dtype=np.float64) for counts in (*num_errors, num_references)
    )
    if not len(first) == len(second) == len(references) == len(speakers):
        raise ValueError(
            f"there are {len(first)} and {len(second)} error counts, {len(references)} reference "
            f"counts and {len(speakers)} speakers, but every utterance has one of each; pass all "
            "in the same order."
        )
    names, indices = np.unique(np.asarray(speakers), return_inverse=True)
    check_several_speakers(len(names))
    more_errors, references_of = (
        np.bincount(indices, counts) for counts in (second - first, references)
    )
    if not references_of.any():
        raise ValueError(
            f"the references of the {len(first)} utterances are empty, but the rate is a fraction "
            "of them; pass at least one that is not."
        )

    def rate(counts: np.ndarray) -> float | None:
        drawn = counts @ references_of
        return float(counts @ more_errors / drawn) if drawn > 0 else None

    return _difference(rate, num_speakers=len(names), num_resamples=num_resamples, seed=seed)


def equal_error_rate_difference(
    scores: tuple[ArrayLike, ArrayLike],
    labels: ArrayLike,
    speaker_pairs: Sequence[tuple[str, str]],
    *,
    num_resamples: int,
    seed: int,
) -> PairedDifference:
    """Of two systems that scored the same trials, each at its own threshold.

    Speakers are drawn and trials counted as in `equal_error_rate_interval`, alike for both.

    Args:
        scores: Of each trial, by the first and by the second system.
        speaker_pairs: Who speaks the two utterances of each trial.

    Raises ValueError for input without an equal error rate or fewer than two speakers.
    """
    first, second = (RankedTrials(of_system, labels) for of_system in scores)
    if not len(first) == len(second) == len(speaker_pairs):
        raise ValueError(
            f"there are {len(first)} and {len(second)} scores and {len(speaker_pairs)} pairs of "
            "speakers, but every trial has one of each; pass all in the same order."
        )
    names, indices = np.unique(np.asarray(speaker_pairs), return_inverse=True)
    check_several_speakers(len(names))
    left, right = indices.reshape(-1, 2).T

    def rate(counts: np.ndarray) -> float | None:
        weights = trial_weights(counts, left, right)
        if not first.have_both_kinds(weights[first.order]):
            return None
        first_rate, second_rate = (
            ranked.equal_error_rate(weights[ranked.order])[0] for ranked in (first, second)
        )
        return second_rate - first_rate

    return _difference(rate, num_speakers=len(names), num_resamples=num_resamples, seed=seed)


def _difference(
    rate: Rate, *, num_speakers: int, num_resamples: int, seed: int
) -> PairedDifference:
    """Differences that are drawn scatter around the observed one as it would around none.

    They scatter too little where there are few speakers, so they are widened as the interval is.
    Source of the test: Efron & Tibshirani, An introduction to the bootstrap (1993), section 16.4.
    """
    observed = rate(np.ones(num_speakers))
    assert observed is not None
    drawn = resampled_rates(rate, num_speakers=num_speakers, num_resamples=num_resamples, seed=seed)
    # Sums in another order are not equal to the last digit.
    as_far = widening(num_speakers) * np.abs(drawn - observed) >= abs(observed) - 1e-12
    return PairedDifference(
        difference=observed,
        interval=interval_of(drawn, rate, num_speakers=num_speakers),
        p_value=float((1 + as_far.sum()) / (1 + num_resamples)),
    )
