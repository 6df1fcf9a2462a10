"""Bootstrap intervals: how far an error rate could have come out with other speakers."""

from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import stdtrit  # the quantiles of Student's t

from w2v2_mt.metrics.ranked_trials import RankedTrials

CONFIDENCE = 0.95
NUM_RESAMPLES = 1000
SEED = 0
"""Of the intervals of a run, whatever its own seed: equal scores have equal intervals."""

Interval = tuple[float, float]
Counts = Float[np.ndarray, " speakers"]
Rate = Callable[[Counts], float | None]


def error_rate_interval(
    num_errors: ArrayLike,
    num_references: ArrayLike,
    speakers: Sequence[str],
    *,
    num_resamples: int,
    seed: int,
) -> Interval:
    """The 95 % interval of all errors over all reference words (or characters) of a set.

    Speakers are drawn with replacement, each with all utterances, since the utterances of one
    speaker are alike. For a bootstrap by utterance, give each its own name.

    Args:
        num_errors: Of each utterance.
        num_references: How many words (or characters) the reference of each utterance has.
        speakers: Who speaks each utterance.

    Raises ValueError for counts that do not belong together or fewer than two speakers.
    Source: Bisani & Ney, Bootstrap estimates for confidence intervals in ASR performance
    evaluation, ICASSP 2004.
    """
    errors = np.asarray(num_errors, dtype=np.float64)
    references = np.asarray(num_references, dtype=np.float64)
    if not len(errors) == len(references) == len(speakers):
        raise ValueError(
            f"there are {len(errors)} error counts, {len(references)} reference counts and "
            f"{len(speakers)} speakers, but every utterance has one of each; pass all in the same "
            "order."
        )
    names, indices = np.unique(np.asarray(speakers), return_inverse=True)
    check_several_speakers(len(names))
    errors_of, references_of = np.bincount(indices, errors), np.bincount(indices, references)
    if not references_of.any():
        raise ValueError(
            f"the references of the {len(errors)} utterances are empty, but the rate is a fraction "
            "of them; pass at least one that is not."
        )

    def rate(counts: Counts) -> float | None:
        drawn = counts @ references_of
        return float(counts @ errors_of / drawn) if drawn > 0 else None

    return _interval(rate, num_speakers=len(names), num_resamples=num_resamples, seed=seed)


def equal_error_rate_interval(
    scores: ArrayLike,
    labels: ArrayLike,
    speaker_pairs: Sequence[tuple[str, str]],
    *,
    num_resamples: int,
    seed: int,
) -> Interval:
    """The 95 % interval of the equal error rate, as fractions.

    Speakers are drawn with replacement. A trial of two speakers counts as often as there are pairs
    of their copies, the product of how often each was drawn; a trial of one speaker as often as
    that speaker was drawn (the square would make intervals far too wide). Draws without a trial of
    either kind are drawn again.

    Args:
        speaker_pairs: Who speaks the two utterances of each trial.

    Raises ValueError for input without an equal error rate. Sources: Owen, The pigeonhole
    bootstrap, Annals of Applied Statistics 1 (2007), for products of counts; Poh & Bengio,
    Performance generalization in biometric authentication using joint user-specific and sample
    bootstraps, IEEE TPAMI 29 (2007), for drawing persons rather than scores.
    """
    ranked = RankedTrials(scores, labels)
    if len(speaker_pairs) != len(ranked):
        raise ValueError(
            f"there are {len(ranked)} scores and {len(speaker_pairs)} pairs of speakers, but every "
            "trial has one of each; pass both in the same order."
        )
    names, indices = np.unique(np.asarray(speaker_pairs), return_inverse=True)
    check_several_speakers(len(names))
    left, right = indices.reshape(-1, 2)[ranked.order].T

    def rate(counts: Counts) -> float | None:
        weights = trial_weights(counts, left, right)
        if not ranked.have_both_kinds(weights):
            return None
        return ranked.equal_error_rate(weights)[0]

    return _interval(rate, num_speakers=len(names), num_resamples=num_resamples, seed=seed)


def trial_weights(
    counts: Counts, left: Int[np.ndarray, " trials"], right: Int[np.ndarray, " trials"]
) -> Float[np.ndarray, " trials"]:
    """How often each trial counts where its speakers, named by index, count so often."""
    return counts[left] * np.where(left == right, 1.0, counts[right])


def check_several_speakers(num_speakers: int) -> None:
    """Raises ValueError for fewer than two."""
    if num_speakers < 2:
        raise ValueError(
            f"the utterances have {num_speakers} speaker(s), but how far speakers differ is seen "
            "from two on; pass utterances of more speakers."
        )


def _interval(rate: Rate, *, num_speakers: int, num_resamples: int, seed: int) -> Interval:
    drawn = resampled_rates(rate, num_speakers=num_speakers, num_resamples=num_resamples, seed=seed)
    return interval_of(drawn, rate, num_speakers=num_speakers)


def resampled_rates(
    rate: Rate, *, num_speakers: int, num_resamples: int, seed: int
) -> Float[np.ndarray, " resamples"]:
    """The rates of so many draws of all speakers with replacement; draws without one do not count.

    Args:
        rate: The rate, or another number, where each speaker counts so often; None where it has
            none.
    """
    generator = np.random.default_rng(seed)
    rates: list[float] = []
    while len(rates) < num_resamples:
        drawn = generator.integers(num_speakers, size=num_speakers)
        value = rate(np.bincount(drawn, minlength=num_speakers).astype(float))
        if value is not None:
            rates.append(value)
    return np.array(rates)


def interval_of(
    resampled: Float[np.ndarray, " resamples"], rate: Rate, *, num_speakers: int
) -> Interval:
    """Quantiles of the rates of many draws, moved for bias, skewness and few speakers.

    Plain percentiles of an error rate lie too low: it is skewed, and so few speakers make most of
    the errors that many samples lack them. Sources: BCa of Efron, Better bootstrap confidence
    intervals, JASA 82 (1987); wider for few speakers as in Hesterberg, What teachers should know
    about the bootstrap, The American Statistician 69 (2015).
    """
    observed = rate(np.ones(num_speakers))
    assert observed is not None
    normal = NormalDist()
    below = ((resampled < observed).mean() + (resampled <= observed).mean()) / 2
    if not 0 < below < 1:  # all on one side: there is no measure of the bias
        below = 0.5
    bias = normal.inv_cdf(float(below))
    acceleration = _acceleration(rate, num_speakers=num_speakers)
    reach = widening(num_speakers) * normal.inv_cdf((1 + CONFIDENCE) / 2)
    bounds = []
    for deviation in (bias - reach, bias + reach):
        position = normal.cdf(bias + deviation / (1 - acceleration * deviation))
        bounds.append(float(np.quantile(resampled, position)))
    return bounds[0], bounds[1]


def widening(num_speakers: int) -> float:
    """By how much deviations of draws from few speakers are too small, at `CONFIDENCE`.

    Student's t instead of the normal distribution, and n - 1 instead of n, as in Hesterberg.
    """
    freedom = num_speakers - 1
    of_student = stdtrit(freedom, (1 + CONFIDENCE) / 2) * np.sqrt(num_speakers / freedom)
    return float(of_student / NormalDist().inv_cdf((1 + CONFIDENCE) / 2))


def _acceleration(rate: Rate, *, num_speakers: int) -> float:
    """The skewness of the rate, seen by leaving out one speaker after the other."""
    without = [rate(1 - one) for one in np.eye(num_speakers)]
    values = np.array([value for value in without if value is not None])
    if len(values) == 0:
        return 0.0
    deviations = values.mean() - values
    spread = float((deviations**2).sum())
    return float((deviations**3).sum()) / (6 * spread**1.5) if spread > 0 else 0.0
