"""Bootstrap over speakers: how much an error rate depends on which speakers were tested.

Speakers are drawn with replacement, each with all utterances, since the utterances of one speaker
are alike. For a bootstrap over utterances, give each utterance its own speaker. Two systems are
compared by `paired_difference`.

Source: Bisani & Ney, Bootstrap estimates for confidence intervals in ASR performance evaluation,
ICASSP 2004.
"""

import warnings
from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import ndtr, stdtrit
from scipy.stats import bootstrap

from w2v2_mt.core.units import count
from w2v2_mt.metrics.paired_difference import CONFIDENCE, Interval
from w2v2_mt.metrics.ranked_trials import RankedTrials

NUM_RESAMPLES = 1000
SEED = 0
"""Seed of the intervals of every run, whatever its own seed: equal scores have equal intervals."""

Counts = Float[np.ndarray, "draws speakers"]
Rates = Float[np.ndarray, " draws"]


def error_rate_interval(
    num_errors: ArrayLike,
    num_references: ArrayLike,
    speakers: Sequence[str],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Return the 95 % interval of an error rate.

    Args:
        num_errors: The errors in each utterance.
        num_references: Words (or characters) in the reference of each utterance.
        speakers: Speaker of each utterance.

    Raises:
        ValueError: There is one speaker only.
    """
    names, indices = np.unique(np.asarray(speakers), return_inverse=True)
    errors_of = np.bincount(indices, num_errors)
    references_of = np.bincount(indices, num_references)

    def rates(counts: Counts) -> Rates:
        drawn = counts @ references_of
        return counts @ errors_of / np.where(drawn > 0, drawn, np.nan)

    return _interval(rates, len(names), num_resamples=num_resamples, seed=seed)


def equal_error_rate_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    speaker_pairs: Sequence[tuple[str, str]],
    *,
    num_resamples: int = NUM_RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Return the 95 % interval of an equal error rate.

    Args:
        scores: The score of each trial.
        labels: 1 for a target trial, 0 for a non-target trial.
        speaker_pairs: The speakers of the two utterances of each trial.

    Raises:
        ValueError: The input has no equal error rate, or there is one speaker only.
    """
    ranked = RankedTrials(scores, labels)
    names, indices = np.unique(np.asarray(speaker_pairs), return_inverse=True)
    left, right = indices.reshape(len(ranked), 2)[ranked.order].T

    def rates(counts: Counts) -> Rates:
        with np.errstate(invalid="ignore"):  # NaN for a draw without trials of both kinds
            weights = (weigh_trials(row, left, right) for row in counts)
            return np.array([ranked.equal_error_rate(each)[0] for each in weights])

    return _interval(rates, len(names), num_resamples=num_resamples, seed=seed)


def _interval(
    rates_of: Callable[[Counts], Rates], num_speakers: int, *, num_resamples: int, seed: int
) -> Interval:
    """Return the BCa interval, widened for few speakers.

    Percentiles of an error rate lie too low: it is skewed, and few speakers make most errors.
    The interval is that of percentiles where BCa is undefined, such as for equal numbers.

    Draws from few speakers deviate too little: Student's t takes the place of the normal
    distribution, and n - 1 that of n.

    Source: Efron, Better bootstrap confidence intervals, JASA 82 (1987); widened as in Hesterberg,
    What teachers should know about the bootstrap, The American Statistician 69 (2015).

    Args:
        rates_of: Maps how often each speaker counts to an error rate, NaN where it is undefined.
    """
    if num_speakers < 2:
        raise ValueError(
            f"the utterances have {count(num_speakers, 'speaker')}, but a bootstrap over speakers "
            "needs at least 2. Pass utterances of more speakers."
        )

    def rates_of_indices(
        drawn: Int[np.ndarray, "*draws size"], axis: int = -1
    ) -> Float[np.ndarray, "*draws"]:
        rows = drawn.reshape(-1, drawn.shape[-1])
        counts = [np.bincount(row, minlength=num_speakers) for row in rows]
        return rates_of(np.array(counts, dtype=np.float64)).reshape(drawn.shape[:-1])

    size = (num_resamples, num_speakers)
    resampled = rates_of_indices(np.random.default_rng(seed).integers(num_speakers, size=size))
    resampled = resampled[np.isfinite(resampled)]
    freedom, quantile = num_speakers - 1, (1 + CONFIDENCE) / 2
    tail = ndtr(-stdtrit(freedom, quantile) * np.sqrt(num_speakers / freedom))
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        low, high = bootstrap(
            (np.arange(num_speakers),),
            rates_of_indices,
            n_resamples=0,
            bootstrap_result=SimpleNamespace(bootstrap_distribution=resampled),
            confidence_level=1 - 2 * tail,
            method="BCa",
            vectorized=True,
        ).confidence_interval
    if not np.isfinite([low, high]).all():
        low, high = np.quantile(resampled, [tail, 1 - tail])
    return float(low), float(high)


def weigh_trials(
    counts: Float[np.ndarray, " speakers"],
    left: Int[np.ndarray, " trials"],
    right: Int[np.ndarray, " trials"],
) -> Float[np.ndarray, " trials"]:
    """Return how often each trial counts, from how often each of its two speakers was drawn.

    A non-target trial counts as often as there are pairs of copies of its speakers, a target trial
    as often as its speaker was drawn (the square would make intervals far too wide).

    Source: Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007), for products of
    counts; Poh & Bengio, Performance generalization in biometric authentication using joint
    user-specific and sample bootstraps, IEEE TPAMI 29 (2007), for drawing persons, not scores.
    """
    return counts[left] * np.where(left == right, 1.0, counts[right])
