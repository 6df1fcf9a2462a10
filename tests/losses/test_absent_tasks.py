"""Weights in steps of joint training in which no utterance has a label of some task."""

import itertools

import pytest
import torch

from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.losses.task_gradients import GradientGeometry
from w2v2_mt.losses.weighting import WEIGHTINGS, build_weighting

TASKS = ["speech", "speaker", "sex"]
OPTIONS = {
    "static_speech_weight": 0.25,
    "dwa_weight_sum": 3.0,
    "dwa_temperature": 1.0,
    "dwa_window": 4,
    "weight_lr": 0.1,
    "gradnorm_alpha": 1.5,
}
SUBSETS = [
    subset for size in range(1, len(TASKS) + 1) for subset in itertools.combinations(TASKS, size)
]


def losses_of(tasks, value=2.0):
    return {task: torch.tensor(value + TASKS.index(task), requires_grad=True) for task in tasks}


def geometry_of(tasks):
    return GradientGeometry(
        norms={task: torch.tensor(1.0 + TASKS.index(task)) for task in tasks},
        inner_products={pair: torch.tensor(-0.5) for pair in itertools.combinations(tasks, 2)},
    )


def weighting_of(method, tasks=TASKS):
    return build_weighting(method, tasks, OPTIONS)


@pytest.mark.parametrize("method", [None, *WEIGHTINGS.names])
@pytest.mark.parametrize("order", [SUBSETS, SUBSETS[::-1]], ids=["rising", "falling"])
def test_every_method_weights_the_tasks_that_have_a_loss(method, order):
    weighting = weighting_of(method)
    loss = MultiTaskLoss(weighting=weighting)
    for tasks in order:
        losses = losses_of(tasks)
        num_labelled = {task: int(task in tasks) for task in TASKS}
        result = loss(losses, num_labelled)
        assert set(result.weights) == set(result.mean_losses) == set(tasks)
        assert result.loss.isfinite()
        assert all(weight.isfinite() and weight > 0 for weight in result.weights.values())
        assert {f"train_{task}_loss" for task in tasks} <= set(result.metrics())
        if weighting.needs_task_gradients:
            scales = weighting.gradient_scales(result.mean_losses, geometry_of(tasks)) or {}
            assert all(scale.isfinite() for scale in scales.values())
        assert all(value.isfinite().all() for value in weighting.state_dict().values())


@pytest.mark.parametrize("method", [None, "static", "pcgrad", "uncertainty", "gradnorm"])
def test_the_weight_of_a_task_does_not_depend_on_the_others_being_there(method):
    weighting = weighting_of(method)
    together = weighting(losses_of(TASKS))
    for task in TASKS:
        assert weighting(losses_of([task]))[task] == together[task]


@pytest.mark.parametrize(("method", "expected"), [("min", 2.0), ("max", 4.0)])
def test_losses_are_scaled_to_those_that_are_there(method, expected):
    losses = losses_of(["speech", "sex"])
    weights = weighting_of(method)(losses)
    for task, loss in losses.items():
        assert (weights[task] * loss).item() == pytest.approx(expected)


def test_dwa_repeats_the_last_loss_of_a_task_without_one():
    missing, repeated = weighting_of("dwa", TASKS[:2]), weighting_of("dwa", TASKS[:2])
    both, speech = losses_of(TASKS[:2]), losses_of(TASKS[:1], value=1.0)
    for losses in (both, speech, speech, both):
        missing(losses)
        repeated({**both, **losses})
    assert torch.equal(missing.loss_window, repeated.loss_window)
    assert int(missing.num_seen) == 4
    assert missing(both) == repeated(both)


def test_dwa_begins_when_every_task_has_had_a_loss():
    weighting = weighting_of("dwa", TASKS[:2])
    for tasks, num_seen in ((TASKS[:1], 0), (TASKS[:1], 0), (TASKS[1:2], 1), (TASKS[:1], 2)):
        weighting(losses_of(tasks))
        assert int(weighting.num_seen) == num_seen
    assert weighting.loss_window[:, :2].tolist() == [[2.0, 2.0], [3.0, 3.0]]


def test_learned_noise_is_only_penalized_for_the_tasks_of_the_step():
    loss = MultiTaskLoss(weighting=weighting_of("uncertainty"))
    loss(losses_of(["speaker"]), {"speech": 0, "speaker": 1, "sex": 0}).loss.backward()
    # d/ds (exp(-s) * 3 + s / 2) at s = 0
    assert loss.weighting.log_variances.grad.tolist() == [0.0, -2.5, 0.0]


def test_gradnorm_learns_from_steps_with_all_tasks_only():
    weighting = weighting_of("gradnorm")
    weighting.gradient_scales(losses_of(TASKS[:2]), geometry_of(TASKS[:2]))
    assert weighting.weights.tolist() == pytest.approx([1 / 3] * 3)
    assert weighting.initial_losses.tolist() == [0.0] * 3
    weighting.gradient_scales(losses_of(TASKS), geometry_of(TASKS))
    assert weighting.initial_losses.tolist() == [2.0, 3.0, 4.0]


@pytest.mark.parametrize("method", ["dwa", "uncertainty", "gradnorm"])
def test_a_loss_of_an_unknown_task_is_refused(method):
    with pytest.raises(ValueError, match=r"\(sex\) must be those of the weighting \(speech, sp"):
        weighting_of(method, TASKS[:2])(losses_of(["sex"]))
