from statistics import NormalDist

import numpy as np
import pytest

from w2v2_mt.metrics.bootstrap import (
    equal_error_rate_interval,
    error_rate_interval,
    weigh_trials,
)
from w2v2_mt.metrics.ranked_trials import RankedTrials
from w2v2_mt.metrics.verification import equal_error_rate

NUM_DRAWS = 500


class Voices:
    """Scores of 60 speakers with 10 trials of their own each and one for each pair of them.

    A trial of speaker i scores 3 + u_i + e, one of speakers i and j v_i + v_j + e, with normal
    u, v, e of deviations 1, 0.5 and 1, so that the equal error rate of all speakers in the world
    is known: trials of one speaker have deviation sqrt(2), trials of two sqrt(1.5), and the
    threshold stands equally many deviations from both means.
    """

    num_speakers = 60
    equal_error_rate = NormalDist().cdf(-3 / (2**0.5 + 1.5**0.5))

    def __init__(self):
        self.own = np.repeat(np.arange(self.num_speakers), 10)
        self.first, self.second = np.triu_indices(self.num_speakers, 1)
        self.labels = np.repeat([1, 0], [len(self.own), len(self.first)])
        left, right = np.append(self.own, self.first), np.append(self.own, self.second)
        self.pairs = [(f"id{a}", f"id{b}") for a, b in zip(left, right, strict=True)]

    def scores(self, generator):
        u, v = generator.normal(size=(2, self.num_speakers)) * [[1], [0.5]]
        means = np.append(3 + u[self.own], v[self.first] + v[self.second])
        return means + generator.normal(size=len(means))


@pytest.fixture(scope="module")
def voices():
    return Voices()


class TestEqualErrorRateInterval:
    @pytest.mark.slow
    def test_95_percent_of_the_intervals_hold_the_true_rate(self, voices):
        generator = np.random.default_rng(0)
        below = above = 0
        for draw in range(NUM_DRAWS):
            low, high = equal_error_rate_interval(
                voices.scores(generator), voices.labels, voices.pairs, num_resamples=300, seed=draw
            )
            below += high < voices.equal_error_rate
            above += low > voices.equal_error_rate
        assert 0.93 <= 1 - (below + above) / NUM_DRAWS <= 0.97
        # Neither side has all of the misses.
        assert min(below, above) >= 0.01 * NUM_DRAWS

    def test_it_holds_the_rate_and_is_decided_by_the_seed(self, voices):
        scores = voices.scores(np.random.default_rng(1))
        arguments = (scores, voices.labels, voices.pairs)
        low, high = equal_error_rate_interval(*arguments, num_resamples=200, seed=1)
        assert low < equal_error_rate(scores, voices.labels)[0] < high
        assert equal_error_rate_interval(*arguments, num_resamples=200, seed=1) == (low, high)
        assert equal_error_rate_interval(*arguments, num_resamples=200, seed=2) != (low, high)

    def test_the_order_of_trials_and_the_scale_of_scores_do_not_matter(self, voices):
        scores = voices.scores(np.random.default_rng(1))
        expected = equal_error_rate_interval(
            scores, voices.labels, voices.pairs, num_resamples=50, seed=1
        )
        order = np.random.default_rng(2).permutation(len(scores))
        found = equal_error_rate_interval(
            3 * scores[order] + 1,
            voices.labels[order],
            [voices.pairs[index] for index in order],
            num_resamples=50,
            seed=1,
        )
        assert found == pytest.approx(expected)

    def test_scores_without_an_error_have_no_uncertainty(self):
        pairs = [("a", "a"), ("b", "b"), ("a", "b")]
        interval = equal_error_rate_interval([2, 3, 1], [1, 1, 0], pairs, num_resamples=20, seed=0)
        assert interval == (0, 0)

    def test_different_counts_are_refused(self):
        with pytest.raises(ValueError, match="cannot reshape"):
            equal_error_rate_interval([1, 2], [0, 1], [("a", "b")], num_resamples=1, seed=0)

    def test_trials_of_one_speaker_alone_are_refused(self):
        with pytest.raises(ValueError, match="have 1 speaker, but"):
            equal_error_rate_interval([1, 2], [0, 1], [("a", "a")] * 2, num_resamples=1, seed=0)


def test_a_trial_counts_as_often_as_pairs_of_copies_can_be_made():
    counts = np.array([2.0, 0.0, 3.0])
    left, right = np.array([0, 0, 0, 1, 2]), np.array([0, 1, 2, 2, 2])
    copies = [(speaker, copy) for speaker in range(3) for copy in range(int(counts[speaker]))]
    expected = [
        # The copies of a speaker are not trials of each other: each brings the trial once.
        sum(
            one[0] == a and other[0] == b and (a != b or one == other)
            for one in copies
            for other in copies
        )
        for a, b in zip(left, right, strict=True)
    ]
    np.testing.assert_array_equal(weigh_trials(counts, left, right), expected)
    assert expected == [2, 0, 6, 0, 3]


def test_a_trial_of_weight_three_is_three_trials():
    generator = np.random.default_rng(0)
    for _ in range(100):
        scores = generator.integers(0, 6, size=20)  # ties
        labels = np.append([0, 1], generator.integers(0, 2, size=18))
        weights = np.append([1, 1], generator.integers(0, 4, size=18))
        ranked = RankedTrials(scores, labels)
        rate = equal_error_rate(np.repeat(scores, weights), np.repeat(labels, weights))[0]
        found = ranked.equal_error_rate(weights[ranked.order].astype(float))[0]
        assert found == pytest.approx(rate)


class TestErrorRateInterval:
    @pytest.mark.slow
    def test_95_percent_of_the_intervals_hold_the_true_rate(self):
        # 50 speakers, 10 utterances of 20 words; a speaker's words are wrong with a chance that is
        # drawn between 0 and 0.2.
        generator = np.random.default_rng(0)
        speakers = [str(number // 10) for number in range(500)]
        hits = 0
        for draw in range(NUM_DRAWS):
            chances = np.repeat(generator.uniform(0, 0.2, size=50), 10)
            low, high = error_rate_interval(
                generator.binomial(20, chances), [20] * 500, speakers, num_resamples=300, seed=draw
            )
            hits += low <= 0.1 <= high
        assert 0.93 <= hits / NUM_DRAWS <= 0.97

    def test_utterances_as_speakers_are_too_sure_where_speakers_differ(self):
        errors, references = [0, 0, 5, 5, 1, 1, 9, 9], [10] * 8
        speakers, utterances = list("aabbccdd"), list("abcdefgh")
        low, high = error_rate_interval(errors, references, speakers, num_resamples=500, seed=0)
        narrow = error_rate_interval(errors, references, utterances, num_resamples=500, seed=0)
        assert low < narrow[0] < 0.375 < narrow[1] < high

    def test_speakers_who_err_alike_leave_no_uncertainty(self):
        interval = error_rate_interval(
            [1, 2, 3], [10, 20, 30], ["a", "b", "c"], num_resamples=20, seed=0
        )
        assert interval == pytest.approx((0.1, 0.1))

    def test_its_width_is_that_of_a_mean(self):
        # 400 speakers of one word, half of them wrong: 1.96 deviations of sqrt(0.25 / 400).
        speakers = [str(number) for number in range(400)]
        low, high = error_rate_interval(
            [0, 1] * 200, [1] * 400, speakers, num_resamples=4000, seed=0
        )
        assert (low, high) == pytest.approx((0.5 - 0.049, 0.5 + 0.049), abs=0.004)

    @pytest.mark.parametrize(
        ("errors", "references", "speakers", "sentence"),
        [
            ([1], [2, 3], ["a", "b"], "the same length"),
            ([1, 1], [2, 3], ["a", "a"], "have 1 speaker, but"),
        ],
    )
    def test_input_without_an_answer_is_refused(self, errors, references, speakers, sentence):
        with pytest.raises(ValueError, match=sentence):
            error_rate_interval(errors, references, speakers, num_resamples=1, seed=0)
