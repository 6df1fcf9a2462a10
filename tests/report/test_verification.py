import re

import numpy as np
import pytest

from w2v2_mt.metrics.verification import equal_error_rate, min_dcf
from w2v2_mt.report.verification import TradeOff, det_pictures, histogram_picture
from w2v2_mt.runs.run_folder import TrialScores


def trial_scores(scores, labels):
    keys = [""] * len(scores)
    return TrialScores(
        scores=np.array(scores), labels=np.array(labels), left_keys=keys, right_keys=keys
    )


def test_the_points_of_a_trade_off_are_those_of_the_metrics():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=3000)
    scores = generator.normal(1.5 * labels)
    each = TradeOff.of(trial_scores(scores, labels))
    assert (each.eer, each.eer_threshold) == equal_error_rate(scores, labels)
    cost, threshold = min_dcf(scores, labels, p_target=0.05)
    assert each.min_dcf == pytest.approx(cost)
    accepted = scores >= threshold
    best = each.min_dcf_index
    assert each.miss_rates[best] == pytest.approx(1 - accepted[labels == 1].mean())
    assert each.false_alarm_rates[best] == pytest.approx(accepted[labels == 0].mean())


def test_a_curve_of_very_many_trials_is_drawn_with_few_points():
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=600_000)
    trials = trial_scores(generator.normal(2.0 * labels), labels)
    (drawn,) = det_pictures({"h & e": TradeOff.of(trials)})
    assert len(drawn.svg) < 60_000
    assert "h &amp; e: EER 15." in drawn.svg  # Phi(-1) = 15.87 %


def test_normal_scores_make_a_straight_line():
    # Where both kinds of scores are normal with unit variance, 2 apart,
    # probit(miss) = -2 - probit(false alarm): on the axes of the picture a line of slope -1.
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200_000)
    trials = trial_scores(generator.normal(2.0 * labels), labels)
    (drawn,) = det_pictures({"normal": TradeOff.of(trials)})
    curve = max(re.findall(r'<path d="([^"]*)"', drawn.svg), key=len)
    points = np.array(re.findall(r"[ML] ([\d.-]+) ([\d.-]+)", curve), dtype=float)
    x, y = points[len(points) // 5 : -len(points) // 5].T
    assert np.corrcoef(x, y)[0, 1] > 0.9999


def test_each_list_with_durations_has_a_picture_with_its_own():
    each = TradeOff.of(trial_scores([0.1, 0.2, 0.3, 0.9], [0, 1, 0, 1]))
    names = ["e", "o", "o_0.5s", "o_10s", "x_2s"]
    pictures = det_pictures(dict.fromkeys(names, each))
    assert [
        (drawn.name, [name for name in names if f">{name}: EER" in drawn.svg]) for drawn in pictures
    ] == [("det_e", ["e"]), ("det_o", ["o", "o_0.5s", "o_10s"]), ("det_x_2s", ["x_2s"])]
    assert pictures[1].title == "Detection error trade-off, list o"
    (drawn,) = det_pictures(dict.fromkeys(["e", "x_2s"], each))
    assert drawn.name == "det"


def test_a_histogram_shows_numbers_of_trials_and_the_threshold():
    trials = trial_scores([0.1, 0.2, 0.3, 0.9], [0, 0, 0, 1])
    svg = histogram_picture("o", TradeOff.of(trials), kind="cosine after s_norm").svg
    assert "score, cosine after s_norm" in svg
    assert ">non-target (3 trials)<" in svg
    assert ">target (1 trial)<" in svg
    assert "EER threshold (0.9" in svg
