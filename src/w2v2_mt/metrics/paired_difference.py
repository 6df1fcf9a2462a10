"""Difference of two systems on one test set: its interval and p value, from one standard error.

Source: Aronow, Samii & Assenova, Cluster-robust variance estimation for dyadic data, Political
Analysis 23 (2015), for trials, each of which has two speakers; MacKinnon, Nielsen & Webb,
Cluster-robust inference: a guide to empirical practice, Journal of Econometrics 232 (2023), for the
jackknife over speakers and Student's t with one degree of freedom fewer than speakers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit

from w2v2_mt.core.units import count
from w2v2_mt.metrics.ranked_trials import RankedTrials

CONFIDENCE = 0.95
Interval = tuple[float, float]

_ROUNDING = 1e-12
"""Sums in another order differ in the last digits."""


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """An error rate of a second system minus that of a first one, with its 95 % interval.

    The interval excludes 0 if and only if the p value is below 0.05.

    Args:
        difference: A fraction; below 0, the second system has the lower error rate.
        p_value: The probability of a difference at least this large, in either direction, between
            systems that do not differ.
    """

    difference: float
    interval: Interval
    p_value: float


def error_rate_difference(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    num_references: ArrayLike,
    speakers: Sequence[str],
) -> PairedDifference:
    """Compare the error rates of two systems.

    Args:
        first: The errors in each utterance, for each run of the first system. Runs of a system
            differ in their seed; their mean rate counts.
        second: The same for the second system.
        num_references: Words (or characters) in the reference of each utterance.
        speakers: Speaker of each utterance.

    Raises:
        ValueError: There is one speaker only.
    """
    num, indices = _number(speakers)
    references = np.bincount(indices, np.asarray(num_references, dtype=np.float64))
    errors = [np.array([np.bincount(indices, run) for run in runs]) for runs in (first, second)]
    rates = [each.sum(axis=1) / references.sum() for each in errors]
    difference = errors[1].mean(axis=0) - errors[0].mean(axis=0)
    shares = references / references.sum()
    changes = difference / references.sum() - difference.sum() / references.sum() * shares
    variance = _jackknife(changes / _rest(shares), num)
    return _test(rates[0], rates[1], variance=variance, num_speakers=num)


def equal_error_rate_difference(
    first: Sequence[ArrayLike],
    second: Sequence[ArrayLike],
    labels: ArrayLike,
    speaker_pairs: Sequence[tuple[str, str]],
) -> PairedDifference:
    """Compare the equal error rates of two systems.

    Leaving out each speaker in turn counts the noise of a non-target trial twice, once for each of
    its speakers; it is subtracted once per pair of speakers. The variance is at least half of that
    of independent pairs (a difference of two estimates may be negative), and at least that of one
    trial decided otherwise.

    Args:
        first: The score of each trial, for each run of the first system. Runs of a system differ in
            their seed; their mean rate counts.
        second: The same for the second system.
        labels: 1 for a target trial, 0 for a non-target trial.
        speaker_pairs: The speakers of the two utterances of each trial.

    Raises:
        ValueError: The input has no equal error rate, or there is one speaker only.
    """
    ranked = [[RankedTrials(run, labels) for run in runs] for runs in (first, second)]
    rates = [np.array([run.equal_error_rate()[0] for run in runs]) for runs in ranked]
    influences = [np.array([run.influences() for run in runs]) for runs in ranked]
    change = influences[1].mean(axis=0) - influences[0].mean(axis=0)
    num, indices = _number([speaker for pair in speaker_pairs for speaker in pair])
    left, right = indices.reshape(len(change), 2).T
    pairs, pair_of_trial = np.unique(
        np.minimum(left, right) * num + np.maximum(left, right), return_inverse=True
    )
    low, high = np.divmod(pairs, num)
    is_own = low == high

    def by_speaker(of_pairs: Float[np.ndarray, " pairs"]) -> Float[np.ndarray, " speakers"]:
        return np.bincount(low, of_pairs, num) + np.bincount(high, of_pairs, num)

    of_pairs, counts = np.bincount(pair_of_trial, change), np.bincount(pair_of_trial)
    changes = np.zeros(num)
    for kind in (is_own, ~is_own):
        times = np.where(is_own, 0.5, 1.0) * kind  # by_speaker counts a speaker's own pair twice
        shares = by_speaker(times * counts) / max(counts[kind].sum(), 1)
        changes += by_speaker(times * of_pairs) / _rest(shares)
    own, shared = (float((of_pairs[kind] ** 2).sum()) for kind in (is_own, ~is_own))
    variance = max(
        _jackknife(changes, num) - shared * num / max(num - 2, 1),
        (own * num / (num - 1) + shared) / 2,
    )
    if change.any():
        of_one_trial = max(float(np.abs(each).max()) for each in influences)
        variance = max(variance, of_one_trial**2)
    return _test(rates[0], rates[1], variance=variance, num_speakers=num)


def _test(
    first: Float[np.ndarray, " first_runs"],
    second: Float[np.ndarray, " second_runs"],
    *,
    variance: float,
    num_speakers: int,
) -> PairedDifference:
    """Return the difference of two mean rates, with Student's interval and p value.

    Several runs add the variance of their means, pooled over the two systems; the degrees of
    freedom of the sum are those of Satterthwaite, An approximate distribution of estimates of
    variance components, Biometrics Bulletin 2 (1946).

    Args:
        variance: The variance of the difference over speakers.
    """
    difference = float(second.mean() - first.mean())
    parts = [(variance, num_speakers - 1)]
    if (freedom := len(first) + len(second) - 2) > 0:
        squares = sum(float(((each - each.mean()) ** 2).sum()) for each in (first, second))
        parts.append((squares / freedom * (1 / len(first) + 1 / len(second)), freedom))
    total = sum(part for part, _ in parts)
    error = total**0.5
    if error <= _ROUNDING:  # All speakers and seeds agree.
        p_value = 1.0 if abs(difference) <= _ROUNDING else 0.0
        return PairedDifference(
            difference=difference, interval=(difference, difference), p_value=p_value
        )
    joint = total**2 / sum(part**2 / freedom for part, freedom in parts)
    half = float(stdtrit(joint, (1 + CONFIDENCE) / 2)) * error
    return PairedDifference(
        difference=difference,
        interval=(difference - half, difference + half),
        p_value=float(2 * stdtr(joint, -abs(difference) / error)),
    )


def _number(speakers: Sequence[str]) -> tuple[int, Int[np.ndarray, " speakers"]]:
    """Return how many speakers there are, and the number of each in the order of appearance."""
    numbers: dict[str, int] = {}
    indices = np.array([numbers.setdefault(speaker, len(numbers)) for speaker in speakers])
    if len(numbers) < 2:
        raise ValueError(
            f"the utterances have {count(len(numbers), 'speaker')}, but a comparison over "
            "speakers needs at least 2. Pass utterances of more speakers."
        )
    return len(numbers), indices


def _rest(shares: Float[np.ndarray, " speakers"]) -> Float[np.ndarray, " speakers"]:
    """Return the share that is left without each speaker; 1 for a speaker who has everything."""
    rest = 1 - shares
    return np.where(rest > _ROUNDING, rest, 1.0)


def _jackknife(changes: Float[np.ndarray, " speakers"], num_speakers: int) -> float:
    return float((changes**2).sum() * (num_speakers - 1) / num_speakers)
