"""Bootstrap over speakers: how much an error rate depends on which speakers were tested.

Speakers are drawn with replacement, each with all utterances, since the utterances of one speaker
are alike. For a bootstrap over utterances, give each utterance its own speaker.

Source: Bisani & Ney, Bootstrap estimates for confidence intervals in ASR performance evaluation,
ICASSP 2004. The difference of two systems is not drawn (see `paired_difference`): draws of speakers
count the noise of non-target trials three times, and many draws tie where systems rarely differ.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from scipy.special import ndtr, ndtri, stdtrit
from scipy.stats import bootstrap

from w2v2_mt.metrics.paired_difference import (
    CONFIDENCE,
    Interval,
    PairedDifference,
    equal_error_rate_difference,
    error_rate_difference,
)
from w2v2_mt.metrics.ranked_trials import RankedTrials

NUM_RESAMPLES = 1000
SEED = 0
"""Seed of the intervals of every run, whatever its own seed: equal scores have equal intervals."""

Counts = Float[np.ndarray, "draws speakers"]
Values = Float[np.ndarray, " draws"]


@dataclass(frozen=True, kw_only=True)
class SpeakerBootstrap:
    """A bootstrap over the speakers of a test set.

    Args:
        of_counts: Maps how often each speaker counts to an error rate, or to the difference of two;
            NaN where it is undefined.
        compare: Compares the two systems; None for one system.
    """

    num_speakers: int
    of_counts: Callable[[Counts], Values]
    compare: Callable[[], PairedDifference] | None = None

    def __post_init__(self) -> None:
        if self.num_speakers < 2:
            raise ValueError(
                f"the utterances have {self.num_speakers} speaker(s), but a bootstrap over "
                "speakers needs at least 2. Pass utterances of more speakers."
            )

    def interval(self, *, num_resamples: int = NUM_RESAMPLES, seed: int = SEED) -> Interval:
        """Return the BCa interval, widened for few speakers.

        Percentiles of an error rate lie too low: it is skewed, and few speakers make most errors.
        The interval is that of percentiles where BCa is undefined, such as for equal numbers.

        Source: Efron, Better bootstrap confidence intervals, JASA 82 (1987); widened as in
        Hesterberg, What teachers should know about the bootstrap, The American Statistician 69
        (2015).
        """
        return self._interval_of(self._resample(num_resamples, seed))

    def difference(
        self, *, num_resamples: int = NUM_RESAMPLES, seed: int = SEED
    ) -> PairedDifference:
        """Return the difference of the two systems, by `paired_difference`.

        Nothing is drawn, so that the two arguments have no effect: callers of earlier versions pass
        them.
        """
        if self.compare is None:
            raise ValueError("a difference needs two systems, not one. Pass the errors of both.")
        return self.compare()

    def _resample(self, num_resamples: int, seed: int) -> Values:
        size = (num_resamples, self.num_speakers)
        values = self._of_indices(np.random.default_rng(seed).integers(size[1], size=size))
        return values[np.isfinite(values)]

    def _of_indices(self, drawn: Int[np.ndarray, "*draws size"]) -> Float[np.ndarray, "*draws"]:
        rows = drawn.reshape(-1, drawn.shape[-1])
        counts = [np.bincount(row, minlength=self.num_speakers) for row in rows]
        return self.of_counts(np.array(counts, dtype=np.float64)).reshape(drawn.shape[:-1])

    @property
    def _widening(self) -> float:
        """The factor by which deviations of draws from few speakers are too small.

        Student's t instead of the normal distribution, and n - 1 instead of n (Hesterberg, 2015).
        """
        freedom, quantile = self.num_speakers - 1, (1 + CONFIDENCE) / 2
        deviations = stdtrit(freedom, quantile) * np.sqrt(self.num_speakers / freedom)
        return float(deviations / ndtri(quantile))

    def _interval_of(self, resampled: Values) -> Interval:
        tail = ndtr(-(self._widening * ndtri((1 + CONFIDENCE) / 2)))
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, high = bootstrap(
                (np.arange(self.num_speakers),),
                lambda indices, axis: self._of_indices(indices),
                n_resamples=0,
                bootstrap_result=SimpleNamespace(bootstrap_distribution=resampled),
                confidence_level=1 - 2 * tail,
                method="BCa",
                vectorized=True,
            ).confidence_interval
        if not np.isfinite([low, high]).all():
            low, high = np.quantile(resampled, [tail, 1 - tail])
        return float(low), float(high)


def error_rate_bootstrap(
    num_errors: Sequence[ArrayLike], num_references: ArrayLike, speakers: Sequence[str]
) -> SpeakerBootstrap:
    """Return the bootstrap of the error rate of a system, or of a second one minus a first one.

    Args:
        num_errors: For each system, the errors in each utterance.
        num_references: Words (or characters) in the reference of each utterance.
        speakers: Speaker of each utterance.
    """
    names, indices = np.unique(np.asarray(speakers), return_inverse=True)
    first, *others = (np.bincount(indices, counts) for counts in num_errors)
    errors_of = others[0] - first if others else first
    references_of = np.bincount(indices, num_references)

    def rates(counts: Counts) -> Values:
        drawn = counts @ references_of
        return counts @ errors_of / np.where(drawn > 0, drawn, np.nan)

    compare = partial(error_rate_difference, num_references=num_references, speakers=speakers)
    return SpeakerBootstrap(
        num_speakers=len(names), of_counts=rates, compare=_compare_with(compare, num_errors)
    )


def equal_error_rate_bootstrap(
    scores: Sequence[ArrayLike], labels: ArrayLike, speaker_pairs: Sequence[tuple[str, str]]
) -> SpeakerBootstrap:
    """Return the bootstrap of the equal error rate of a system, or of a second minus a first one.

    Args:
        scores: For each system, the score of each trial.
        labels: 1 for a target trial, 0 for a non-target trial.
        speaker_pairs: The speakers of the two utterances of each trial.

    Raises:
        ValueError: The input has no equal error rate, or there is one speaker only.
    """
    first, *others = (RankedTrials(each, labels) for each in scores)
    names, indices = np.unique(np.asarray(speaker_pairs), return_inverse=True)
    left, right = indices.reshape(len(first), 2)[first.order].T
    # Weights come in the order of the first system; a gather of all trials costs as much as a rate.
    orders = [np.argsort(first.order)[each.order] for each in others]

    def rate(counts: Float[np.ndarray, " speakers"]) -> float:
        weights = weigh_trials(counts, left, right)
        of_first = first.equal_error_rate(weights)[0]
        for each, order in zip(others, orders, strict=True):
            return each.equal_error_rate(weights[order])[0] - of_first
        return of_first

    def rates(counts: Counts) -> Values:
        with np.errstate(invalid="ignore"):  # NaN for a draw without trials of both kinds
            return np.array([rate(row) for row in counts])

    compare = partial(equal_error_rate_difference, labels=labels, speaker_pairs=speaker_pairs)
    return SpeakerBootstrap(
        num_speakers=len(names), of_counts=rates, compare=_compare_with(compare, scores)
    )


def _compare_with(
    compare: Callable[..., PairedDifference], systems: Sequence[ArrayLike]
) -> Callable[[], PairedDifference] | None:
    return partial(compare, *([each] for each in systems)) if len(systems) > 1 else None


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
