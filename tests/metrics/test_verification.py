import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_curve

from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics import verification
from w2v2_mt.metrics.verification import cllr, equal_error_rate, min_dcf, trial_scores


def rates_at(threshold, scores, labels):
    """Miss and false-alarm rate of accepting from `threshold` on, counted one by one."""
    targets = [score for score, label in zip(scores, labels, strict=True) if label]
    impostors = [score for score, label in zip(scores, labels, strict=True) if not label]
    misses = sum(score < threshold for score in targets) / len(targets)
    false_alarms = sum(score >= threshold for score in impostors) / len(impostors)
    return misses, false_alarms


def searched_equal_error_rate(scores, labels):
    """Bisection on the broken line through the operating points of all thresholds."""
    points = [rates_at(t, scores, labels) for t in [math.inf, *sorted(set(scores), reverse=True)]]

    def point_at(position):
        index = min(int(position), len(points) - 2)
        share = position - index
        (miss_a, fa_a), (miss_b, fa_b) = points[index], points[index + 1]
        return miss_a + share * (miss_b - miss_a), fa_a + share * (fa_b - fa_a)

    low, high = 0.0, float(len(points) - 1)
    for _ in range(60):
        middle = (low + high) / 2
        miss, false_alarm = point_at(middle)
        low, high = (middle, high) if miss > false_alarm else (low, middle)
    return point_at(high)[0]


# Few distinct scores, so that ties between and within the classes are common.
scored_trials = st.lists(
    st.tuples(st.integers(-4, 4).map(lambda number: number / 4), st.integers(0, 1)),
    min_size=2,
    max_size=30,
).filter(lambda trials: {label for _, label in trials} == {0, 1})


class TestEqualErrorRate:
    def test_separated_scores_have_no_error(self):
        rate, threshold = equal_error_rate([0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0])
        assert rate == 0
        assert rates_at(threshold, [0.9, 0.8, 0.1, 0.2], [1, 1, 0, 0]) == (0, 0)

    def test_swapped_scores_are_always_wrong(self):
        assert equal_error_rate([0.1, 0.2, 0.9, 0.8], [1, 1, 0, 0])[0] == 1

    def test_one_of_four_of_each_class_on_the_wrong_side(self):
        scores = [0.9, 0.8, 0.7, 0.3, 0.6, 0.2, 0.1, 0.0]
        labels = [1, 1, 1, 1, 0, 0, 0, 0]
        rate, threshold = equal_error_rate(scores, labels)
        assert rate == 0.25
        assert threshold == 0.6
        assert rates_at(threshold, scores, labels) == (0.25, 0.25)

    def test_between_two_operating_points_it_is_interpolated(self):
        # Points (miss, false alarm): (1, 0), (1/2, 0), (1/2, 1/3), (1/2, 2/3), (0, 2/3), (0, 1):
        # miss = false alarm on the way from the third to the fourth, half-way.
        rate, threshold = equal_error_rate([0.9, 0.5, 0.8, 0.7, 0.1], [1, 1, 0, 0, 0])
        assert rate == pytest.approx(0.5)
        assert threshold == pytest.approx(0.75)

    def test_equal_scores_carry_no_information(self):
        assert equal_error_rate([0.3] * 5, [1, 0, 0, 1, 0]) == (0.5, 0.3)

    def test_a_tie_across_the_classes_is_shared(self):
        # Points: (1, 0), (1/2, 0), (0, 1/2), (0, 1): on the second line both are 1/4.
        assert equal_error_rate([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0])[0] == pytest.approx(0.25)

    @given(scored_trials)
    @settings(max_examples=150)
    def test_it_agrees_with_a_search(self, trials):
        scores, labels = zip(*trials, strict=True)
        expected = searched_equal_error_rate(scores, labels)
        assert equal_error_rate(list(scores), list(labels))[0] == pytest.approx(expected, abs=1e-9)

    @given(scored_trials)
    @settings(max_examples=50)
    def test_neither_order_nor_a_rising_function_matters(self, trials):
        scores, labels = (np.array(column) for column in zip(*trials, strict=True))
        order = np.random.default_rng(0).permutation(len(scores))
        rate, threshold = equal_error_rate(scores, labels)
        assert equal_error_rate(scores[order], labels[order]) == (rate, threshold)
        assert equal_error_rate(3 * scores + 7, labels)[0] == pytest.approx(rate)

    def test_random_scores_agree_with_an_independent_roc(self):
        generator = np.random.default_rng(1)
        labels = generator.integers(0, 2, 2000)
        scores = (generator.normal(size=2000) + labels).round(2).astype(np.float32)
        false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
        along = np.linspace(0, 1, 2_000_001)
        gap = 1 - np.interp(along, false_alarms, hits) - along
        assert equal_error_rate(scores, labels)[0] == pytest.approx(
            along[np.argmin(np.abs(gap))], abs=1e-4
        )


class TestMinDcf:
    def test_separated_scores_cost_nothing(self):
        assert min_dcf([0.9, 0.8, 0.1], [1, 1, 0]) == (0, 0.8)

    def test_useless_scores_cost_as_much_as_rejecting_everything(self):
        assert min_dcf([0.3] * 4, [1, 0, 1, 0]) == (1, math.inf)

    def test_with_a_frequent_target_accepting_everything_is_cheapest(self):
        cost, threshold = min_dcf([0.3, 0.1, 0.3, 0.2], [1, 1, 0, 0], p_target=0.95)
        assert cost == pytest.approx(1)
        assert threshold == 0.1

    def test_one_target_in_four_below_every_impostor(self):
        # Rejecting all but the three best: 0.05 * 1/4 over min(0.05, 0.95).
        scores, labels = [0.9, 0.8, 0.7, 0.1, 0.5, 0.4], [1, 1, 1, 1, 0, 0]
        cost, threshold = min_dcf(scores, labels)
        assert cost == pytest.approx(0.25)
        assert threshold == 0.7

    def test_costs_weigh_the_two_errors(self):
        # One impostor in 20 outscores every target. Accepting it costs c_fa * 0.5 / 20.
        scores = [0.9] + [0.5] * 4 + [0.1] * 19
        labels = [0] + [1] * 4 + [0] * 19
        assert min_dcf(scores, labels, p_target=0.5)[0] == pytest.approx(1 / 20)
        assert min_dcf(scores, labels, p_target=0.5, c_fa=4.0)[0] == pytest.approx(4 / 20)
        assert min_dcf(scores, labels, p_target=0.5, c_miss=0.5)[0] == pytest.approx(2 / 20)

    @given(scored_trials, st.floats(0.01, 0.99), st.floats(0.1, 10), st.floats(0.1, 10))
    @settings(max_examples=150)
    def test_it_agrees_with_a_search(self, trials, p_target, c_miss, c_fa):
        scores, labels = zip(*trials, strict=True)

        def cost_at(threshold):
            miss, false_alarm = rates_at(threshold, scores, labels)
            cost = c_miss * p_target * miss + c_fa * (1 - p_target) * false_alarm
            return cost / min(c_miss * p_target, c_fa * (1 - p_target))

        cost, threshold = min_dcf(list(scores), list(labels), p_target, c_miss, c_fa)
        assert cost == pytest.approx(min(cost_at(t) for t in [math.inf, *scores]))
        assert cost == pytest.approx(cost_at(threshold))

    @pytest.mark.parametrize(
        ("options", "sentence"),
        [
            ({"p_target": 0.0}, r"p_target \(0\.0\) must lie between 0 and 1, both excluded\."),
            ({"p_target": 1.0}, r"p_target \(1\.0\) must lie between 0 and 1, both excluded\."),
            ({"c_miss": -1.0}, r"c_miss \(-1\.0\) must be finite and above 0\."),
            ({"c_fa": math.inf}, r"c_fa \(inf\) must be finite and above 0\."),
        ],
    )
    def test_impossible_costs_are_refused(self, options, sentence):
        with pytest.raises(ValueError, match=sentence):
            min_dcf([0.1, 0.2], [0, 1], **options)


class TestCllr:
    def test_a_ratio_of_one_for_every_trial_costs_one_bit(self):
        assert cllr([0.0] * 5, [1, 0, 0, 1, 0]) == pytest.approx(1)

    def test_by_hand(self):
        # Targets cost log2(1 + 1/3) and log2(1 + 3), the impostor costs log2(1 + 1).
        expected = ((math.log2(4 / 3) + 2) / 2 + 1) / 2
        assert cllr([math.log(3), -math.log(3), 0.0], [1, 1, 0]) == pytest.approx(expected)

    def test_equal_scores_that_are_not_zero_mislead(self):
        # Half the cost of a ratio of 1/3 for targets, half of that for impostors.
        expected = (2 + math.log2(4 / 3)) / 2
        assert cllr([-math.log(3)] * 3, [1, 0, 0]) == pytest.approx(expected)

    def test_cosines_cannot_cost_less_than_the_ratio_e(self):
        assert cllr([1.0, -1.0], [1, 0]) == pytest.approx(math.log2(1 + 1 / math.e))
        assert math.log2(1 + 1 / math.e) == pytest.approx(0.452, abs=5e-4)

    def test_large_scores_neither_overflow_nor_vanish(self):
        assert cllr([2000.0, -2000.0], [1, 0]) == 0
        assert cllr([-2000.0, 2000.0], [1, 0]) == pytest.approx(2000 / math.log(2))

    @given(scored_trials)
    @settings(max_examples=100)
    def test_it_agrees_with_a_sum_over_trials(self, trials):
        targets = [math.log2(1 + math.exp(-score)) for score, label in trials if label]
        impostors = [math.log2(1 + math.exp(score)) for score, label in trials if not label]
        expected = (sum(targets) / len(targets) + sum(impostors) / len(impostors)) / 2
        scores, labels = zip(*trials, strict=True)
        assert cllr(list(scores), list(labels)) == pytest.approx(expected)

    def test_true_log_likelihood_ratios_have_the_least_cost(self):
        # Two normal densities of variance 1 at +1 and -1: the ratio is exp(2x).
        generator = np.random.default_rng(0)
        labels = np.arange(20_000) % 2
        x = generator.normal(size=20_000) + 2 * labels - 1
        cost = cllr(2 * x, labels)
        assert all(cost < cllr(2 * scale * x, labels) for scale in (0.5, 0.8, 1.2, 2.0))
        assert all(cost < cllr(2 * x + shift, labels) for shift in (-0.5, 0.5))


@pytest.mark.parametrize("metric", [equal_error_rate, min_dcf, cllr])
@pytest.mark.parametrize(
    ("scores", "labels", "sentence"),
    [
        ([], [], "none of 0 trials has the label same speaker"),
        ([0.1], [1], "none of 1 trial has the label different"),
        ([0.1, 0.2], [1], r"scores have shape \(2,\) and labels \(1,\)"),
        ([0.1, 0.2], [1, 1], "none of 2 trials has the label different"),
        ([0.1, 0.2], [0, 0], "none of 2 trials has the label same speaker"),
        ([0.1, float("nan")], [0, 1], "score number 1 is nan"),
        ([float("-inf"), 0.1], [0, 1], "score number 0 is -inf"),
        ([0.1, 0.2, 0.3], [0, 1, -1], "label number 2 is -1"),
        ([0.1, 0.2], [0, float("nan")], "label number 1 is nan"),
        ([[0.1], [0.2]], [0, 1], r"scores have shape \(2, 1\)"),
    ],
)
def test_input_without_an_answer_is_refused(metric, scores, labels, sentence):
    with pytest.raises(ValueError, match=sentence):
        metric(scores, labels)


@pytest.mark.parametrize("metric", [equal_error_rate, min_dcf])
def test_lists_arrays_and_booleans_mean_the_same(metric):
    scores, labels = [0.4, 0.6, 0.5, 0.1], [1, 1, 0, 0]
    expected = metric(scores, labels)
    assert metric(np.array(scores), np.array(labels, dtype=bool)) == expected
    assert all(type(value) is float for value in expected)


class TestTrialScores:
    def test_the_score_is_the_cosine(self):
        embeddings = {
            "a": torch.tensor([1.0, 0.0]),
            "b": torch.tensor([3.0, 4.0]),
            "c": torch.tensor([-2.0, 0.0]),
        }
        trials = [Trial(True, "a", "b"), Trial(False, "a", "c"), Trial(False, "b", "b")]
        scores = trial_scores(embeddings, trials)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, [0.6, -1, 1], atol=1e-6)

    def test_half_precision_embeddings_are_scored_in_float32(self):
        left, right = torch.randn(2, 64, generator=torch.Generator().manual_seed(0)).half() * 60
        score = trial_scores({"a": left, "b": right}, [Trial(True, "a", "b")])[0]
        exact = torch.cosine_similarity(left.double(), right.double(), dim=0)
        assert score == pytest.approx(exact.item(), abs=1e-6)

    def test_the_size_of_a_block_does_not_matter(self, monkeypatch):
        generator = torch.Generator().manual_seed(0)
        embeddings = {str(i): torch.randn(8, generator=generator) for i in range(6)}
        trials = [Trial(True, str(i), str(j)) for i in range(6) for j in range(6)]
        at_once = trial_scores(embeddings, trials)
        monkeypatch.setattr(verification, "TRIALS_PER_BLOCK", 7)
        np.testing.assert_allclose(trial_scores(embeddings, trials), at_once, atol=1e-6)

    def test_a_missing_utterance_is_named(self):
        embeddings = {"here": torch.ones(2)}
        trials = [Trial(True, "here", "here"), Trial(True, "here", "gone"), Trial(False, "x", "x")]
        with pytest.raises(ValueError, match=r"utterance 'gone' .* \(2 such utterances in all\)"):
            trial_scores(embeddings, trials)
