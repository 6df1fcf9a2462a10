"""A learning-rate range test on functions whose answer is known."""

import math

import numpy as np
import pytest

from w2v2_mt.optim.lr_range_test import GrowingLearningRate, RangeTest


def descent(*, curvature: float, lowest_lr: float, highest_lr: float, num_steps: int) -> RangeTest:
    """Gradient descent on curvature / 2 x^2 + 1, from x = 1, with a learning rate that grows."""
    schedule = GrowingLearningRate(lowest_lr=lowest_lr, highest_lr=highest_lr)
    x, test = 1.0, RangeTest(num_steps=num_steps, learning_rates=[], losses=[])
    for step in range(num_steps):
        lr = schedule.factor(step, num_steps=num_steps, peak_lr=0.5) * 0.5
        test = RangeTest(
            num_steps=num_steps,
            learning_rates=[*test.learning_rates, lr],
            losses=[*test.losses, curvature / 2 * x**2 + 1],
        )
        if test.has_diverged:
            break
        x -= lr * curvature * x
    return test


def test_the_learning_rate_grows_by_the_same_factor_from_the_lowest_to_the_highest():
    schedule = GrowingLearningRate(lowest_lr=1e-4, highest_lr=1e2)
    rates = [0.1 * schedule.factor(step, num_steps=7, peak_lr=0.1) for step in range(7)]
    assert rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100])


@pytest.mark.parametrize("curvature", [0.5, 4.0, 100.0])
def test_the_suggestion_is_below_where_descent_diverges(curvature):
    test = descent(curvature=curvature, lowest_lr=1e-6, highest_lr=1e3, num_steps=400)
    assert test.has_diverged
    assert len(test.losses) < 400
    # On a quadratic function, descent with more than 2 / curvature diverges.
    assert test.suggestion is not None
    assert 1e-3 / curvature < test.suggestion < 2 / curvature < test.learning_rates[-1]


def test_where_nothing_diverges_there_is_a_point_for_each_step():
    test = descent(curvature=1.0, lowest_lr=1e-6, highest_lr=1e-1, num_steps=50)
    assert not test.has_diverged
    assert len(test.losses) == len(test.smoothed_losses) == len(test.learning_rates) == 50


def test_a_smoothed_loss_is_the_mean_of_its_neighbours_on_both_sides():
    losses = [8.0, 2.0, 5.0, 11.0, 3.0]
    test = RangeTest(num_steps=5, learning_rates=[1e-5] * 5, losses=losses)
    assert test.smoothed_losses == pytest.approx([8, 5, 6, 19 / 3, 3])
    # A straight line stays as it is: nothing is moved towards larger learning rates.
    line = RangeTest(num_steps=100, learning_rates=[1.0] * 9, losses=list(np.arange(9.0)))
    assert line.smoothed_losses == pytest.approx(np.arange(9.0))


def test_the_loss_falls_fastest_where_it_was_made_to():
    rates = np.logspace(-6, 0, 601)
    losses = 5 - 3 / (1 + np.exp(-4 * (np.log10(rates) + 3)))  # steepest at 1e-3
    losses[rates > 1e-1] += 100 * (rates[rates > 1e-1] - 1e-1)
    test = RangeTest(num_steps=601, learning_rates=list(rates), losses=list(losses))
    assert test.suggestion == pytest.approx(1e-3, rel=0.05)


@pytest.mark.parametrize("losses", [[1.0, 2.0, 3.0, 4.0], [2.0, 2.0, 2.0, 2.0], [2.0], [math.nan]])
def test_there_is_no_suggestion_where_the_loss_never_falls(losses):
    rates = [1e-4, 1e-3, 1e-2, 1e-1][: len(losses)]
    assert RangeTest(num_steps=4, learning_rates=rates, losses=losses).suggestion is None


@pytest.mark.parametrize("last", [math.nan, math.inf])
def test_a_loss_of_nan_has_diverged(last):
    test = RangeTest(
        num_steps=4, learning_rates=[1e-4, 1e-3, 1e-2, 1e-1], losses=[3.0, 2.5, 1.0, last]
    )
    assert test.has_diverged
    assert test.suggestion == 1e-3  # Smoothed: 3, 13 / 6, 1; the slope is -1 there.
