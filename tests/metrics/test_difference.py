from statistics import NormalDist

import numpy as np
import pytest
from scipy.special import stdtrit

from w2v2_mt.metrics.paired_difference import (
    equal_error_rate_difference,
    error_rate_difference,
)
from w2v2_mt.metrics.ranked_trials import RankedTrials
from w2v2_mt.metrics.verification import equal_error_rate

NUM_DRAWS = 400


SPEAKERS = [str(number // 10) for number in range(400)]
"""40 speakers of 10 utterances, each of 20 words."""


def word_errors(generator, *, first, second):
    """A speaker's words are hard for both systems alike, and each errs on so many at the mean."""
    hard = np.repeat(generator.uniform(0, 2, size=40), 10)
    return generator.binomial(20, first * hard), generator.binomial(20, second * hard)


class TestErrorRateDifference:
    @pytest.mark.slow
    def test_95_percent_of_the_intervals_hold_the_true_difference(self):
        generator = np.random.default_rng(0)
        hits = significant = 0
        for _ in range(NUM_DRAWS):
            first, second = word_errors(generator, first=0.10, second=0.12)
            found = error_rate_difference([first], [second], [20] * 400, SPEAKERS)
            hits += found.interval[0] <= 0.02 <= found.interval[1]
            significant += found.p_value < 0.05
        assert 0.92 <= hits / NUM_DRAWS <= 0.98
        assert significant > 0.8 * NUM_DRAWS

    @pytest.mark.slow
    def test_equal_systems_differ_by_chance_only(self):
        generator = np.random.default_rng(1)
        significant = 0
        for _ in range(NUM_DRAWS):
            first, second = word_errors(generator, first=0.1, second=0.1)
            found = error_rate_difference([first], [second], [20] * 400, SPEAKERS)
            significant += found.p_value < 0.05
        assert 0.03 <= significant / NUM_DRAWS <= 0.07

    def test_identical_systems_do_not_differ(self):
        errors = np.random.default_rng(0).integers(0, 5, size=400)
        found = error_rate_difference([errors], [errors], [20] * 400, SPEAKERS)
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)

    def test_the_order_of_the_systems_is_the_sign(self):
        first, second = word_errors(np.random.default_rng(2), first=0.1, second=0.15)
        found = error_rate_difference([first], [second], [20] * 400, SPEAKERS)
        other = error_rate_difference([second], [first], [20] * 400, SPEAKERS)
        assert found.difference == pytest.approx((second.sum() - first.sum()) / 8000)
        assert other.difference == -found.difference
        assert other.p_value == found.p_value
        assert other.interval == pytest.approx((-found.interval[1], -found.interval[0]))

    def test_what_is_hard_for_both_systems_adds_no_uncertainty(self):
        hard = np.repeat(np.arange(40) % 10, 10)
        found = error_rate_difference([hard], [hard + 1], [20] * 400, SPEAKERS)
        assert found.interval == pytest.approx((0.05, 0.05))

    @pytest.mark.parametrize(
        ("second", "speakers", "sentence"),
        [
            ([1], ["a", "b"], "the same length"),
            ([1, 1], ["a", "a"], "have 1 speaker, but"),
        ],
    )
    def test_input_without_an_answer_is_refused(self, second, speakers, sentence):
        with pytest.raises(ValueError, match=sentence):
            error_rate_difference([[1, 1]], [second], [1, 1], speakers)


class TestEqualErrorRateDifference:
    own = np.repeat(np.arange(40), 10)
    first, second = np.triu_indices(40, 1)
    labels = np.repeat([1, 0], [len(own), len(first)])
    pairs = tuple(
        (str(a), str(b)) for a, b in zip(np.append(own, first), np.append(own, second), strict=True)
    )

    def scores(self, generator, *, distances):
        """Of systems that see what a voice is like alike, with errors of their own.

        Both kinds of trials have the deviation sqrt(1.5) and means so far apart.
        """
        alike = np.append(
            generator.normal(size=40)[self.own] * 0.5**0.5,
            (lambda v: v[self.first] + v[self.second])(generator.normal(size=40) * 0.5),
        )
        return tuple(
            distance * self.labels + alike + generator.normal(size=len(alike))
            for distance in distances
        )

    @pytest.mark.slow
    def test_95_percent_of_the_intervals_hold_the_true_difference(self):
        generator = np.random.default_rng(0)
        rates = [NormalDist().cdf(-distance / (2 * 1.5**0.5)) for distance in (3.0, 2.7)]
        hits = 0
        for _ in range(200):
            first, second = self.scores(generator, distances=(3.0, 2.7))
            found = equal_error_rate_difference([first], [second], self.labels, self.pairs)
            hits += found.interval[0] <= rates[1] - rates[0] <= found.interval[1]
        assert 0.91 <= hits / 200 <= 0.985

    def test_identical_systems_do_not_differ(self):
        scores, _ = self.scores(np.random.default_rng(0), distances=(2, 2))
        found = equal_error_rate_difference([scores], [3 * scores + 1], self.labels, self.pairs)
        assert found.difference == pytest.approx(0)
        assert found.interval == pytest.approx((0, 0))
        assert found.p_value == 1

    def test_the_difference_is_that_of_the_two_rates_in_any_order_of_trials(self):
        one, other = self.scores(np.random.default_rng(1), distances=(2, 3))
        found = equal_error_rate_difference([one], [other], self.labels, self.pairs)
        expected = equal_error_rate(other, self.labels)[0] - equal_error_rate(one, self.labels)[0]
        assert found.difference == pytest.approx(expected)
        assert found.p_value < 0.05
        order = np.random.default_rng(2).permutation(len(one))
        pairs = [self.pairs[index] for index in order]
        shuffled = equal_error_rate_difference(
            [one[order]], [other[order]], self.labels[order], pairs
        )
        assert shuffled.interval == pytest.approx(found.interval)

    def test_different_counts_are_refused(self):
        with pytest.raises(ValueError, match="cannot reshape"):
            equal_error_rate_difference([[1, 2]], [[1, 2]], [0, 1], [("a", "b")])


def test_few_speakers_make_a_p_value_large():
    found = error_rate_difference([[1, 2, 0, 3]], [[0, 1, 0, 1]], [5] * 4, list("abcd"))
    assert found.interval[1] >= 0
    assert found.p_value > 0.05


class TestOneProcedure:
    """The interval excludes 0 if and only if the p value is below 0.05."""

    NUM_SPEAKERS, NUM_EACH = 20, 1000

    def scores(self, generator, *, gain=0.0, own=0.0):
        """Trials of 20 speakers; `own` is the deviation of what a system makes of a speaker."""
        left = generator.integers(self.NUM_SPEAKERS, size=2 * self.NUM_EACH)
        apart = generator.integers(1, self.NUM_SPEAKERS, size=len(left))
        labels = np.repeat([1, 0], self.NUM_EACH)
        right = np.where(labels == 1, left, (left + apart) % self.NUM_SPEAKERS)
        systems = []
        for distance in (3.0, 3.0 + gain):
            traits = generator.normal(size=self.NUM_SPEAKERS) * own
            noise = generator.normal(size=len(left))
            systems.append(distance * labels + traits[left] + traits[right] + noise)
        return (*systems, labels, [(str(a), str(b)) for a, b in zip(left, right, strict=True)])

    def rejected(self, found):
        excludes_zero = not found.interval[0] <= 0 <= found.interval[1]
        assert excludes_zero == (found.p_value < 0.05)
        return excludes_zero

    @pytest.mark.slow
    @pytest.mark.parametrize("own", [0.0, 0.3])
    def test_equal_systems_differ_in_5_percent_of_the_tests(self, own):
        generator = np.random.default_rng(0)
        num_rejected = 0
        for _ in range(200):
            first, second, labels, pairs = self.scores(generator, own=own)
            num_rejected += self.rejected(
                equal_error_rate_difference([first], [second], labels, pairs)
            )
        assert 0.03 <= num_rejected / 200 <= 0.07

    def test_a_better_system_is_found(self):
        generator = np.random.default_rng(1)
        num_rejected = 0
        for _ in range(20):
            first, second, labels, pairs = self.scores(generator, gain=0.6)
            num_rejected += self.rejected(
                equal_error_rate_difference([first], [second], labels, pairs)
            )
        assert num_rejected >= 0.9 * 20

    @pytest.mark.parametrize("num_moved", [1, 2, 3])
    @pytest.mark.parametrize("kind", [0, 1])
    def test_trials_that_one_speaker_moved_are_no_difference(self, kind, num_moved):
        """Most draws of speakers would tie, and the interval of BCa leaves out 0."""
        generator = np.random.default_rng(2)
        first, _, labels, pairs = self.scores(generator)
        of_speaker = (labels == kind) & np.array([left == "3" for left, _ in pairs])
        right = first > equal_error_rate(first, labels)[1] if kind else first < 1
        moved = np.flatnonzero(of_speaker & right)[:num_moved]
        second = first.copy()
        second[moved] += -8 if kind else 8
        found = equal_error_rate_difference([first], [second], labels, pairs)
        assert found.difference >= 0
        assert not self.rejected(found)

    @pytest.mark.parametrize("kind", [0, 1])
    def test_the_interval_of_one_moved_trial_is_that_of_one_trial_at_least(self, kind):
        first, _, labels, pairs = self.scores(np.random.default_rng(3))
        influences = RankedTrials(first, labels).influences()
        right = np.flatnonzero((labels == kind) & (np.abs(influences) < 0.5 / self.NUM_EACH / 10))
        second = first.copy()
        second[right[0]] += -8 if kind else 8
        found = equal_error_rate_difference([first], [second], labels, pairs)
        of_one_trial = np.abs(influences).max()
        half = (found.interval[1] - found.interval[0]) / 2
        assert half >= 0.99 * stdtrit(self.NUM_SPEAKERS - 1, 0.975) * of_one_trial

    def test_without_errors_there_is_no_difference(self):
        labels, pairs = [1, 1, 0], [("a", "a"), ("b", "b"), ("a", "b")]
        found = equal_error_rate_difference([[2, 3, 1]], [[5, 4, 1]], labels, pairs)
        assert (found.difference, found.interval, found.p_value) == (0, (0, 0), 1)

    def test_speakers_of_one_utterance_each_need_no_matrix_of_all_pairs(self):
        generator = np.random.default_rng(0)
        labels = np.arange(40_000) % 2
        pairs = [(f"{number}a", f"{number}b") for number in range(len(labels))]
        first, second = (labels + generator.normal(size=len(labels)) for _ in range(2))
        self.rejected(equal_error_rate_difference([first], [second], labels, pairs))
