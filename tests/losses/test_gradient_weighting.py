import math
from itertools import combinations

import pytest
import torch

from w2v2_mt.losses.gradient_weighting import GradNorm, PcGrad
from w2v2_mt.losses.task_gradients import GradientGeometry


def by_task(speech, speaker):
    return {"speech": torch.tensor(speech), "speaker": torch.tensor(speaker)}


def numbers(values):
    return {name: value.item() for name, value in values.items()}


def geometry_of(gradients):
    return GradientGeometry(
        norms={task: gradient.norm() for task, gradient in gradients.items()},
        inner_products={
            (task, other): torch.dot(gradients[task], gradients[other])
            for task, other in combinations(gradients, 2)
        },
    )


def project(*gradients):
    """Return the step that PCGrad makes of one gradient per task."""
    vectors = {f"task {number}": torch.tensor(each) for number, each in enumerate(gradients)}
    scales = PcGrad().gradient_scales({}, geometry_of(vectors))
    return sum(scales[task] * vector for task, vector in vectors.items()).tolist()


def test_gradients_without_conflict_are_added():
    assert project([1.0, 0.0], [1.0, 2.0]) == [2, 2]
    assert project([3.0, 0.0], [0.0, 2.0]) == [3, 2]


def test_each_of_two_conflicting_gradients_loses_its_part_against_the_other():
    # (2, 0) becomes (2, 0) - (-2 / 5) (-1, 2) = (1.6, 0.8), (-1, 2) becomes (0, 2).
    assert project([2.0, 0.0], [-1.0, 2.0]) == pytest.approx([1.6, 2.8])
    assert project([-1.0, 2.0], [2.0, 0.0]) == pytest.approx([1.6, 2.8])


def test_opposite_gradients_cancel_whatever_their_lengths():
    assert project([3.0, 4.0], [-0.3, -0.4]) == pytest.approx([0, 0], abs=1e-6)


def test_the_other_gradient_stays_where_one_is_zero():
    assert project([0.0, 0.0], [-1.0, 2.0]) == [-1, 2]


def test_three_gradients_are_projected_one_after_the_other():
    gradients = [(2.0, 0.0, 1.0), (-1.0, 1.0, 0.0), (-1.0, -2.0, 1.0)]
    expected = torch.zeros(3)
    for number, gradient in enumerate(gradients):
        projected = torch.tensor(gradient)
        for other in (*gradients[:number], *gradients[number + 1 :]):
            other = torch.tensor(other)  # type: ignore[assignment]
            if projected @ other < 0:
                projected = projected - (projected @ other) / (other @ other) * other
        expected += projected
    assert project(*gradients) == pytest.approx(expected.tolist())


def grad_norm(*, learning_rate=0.1, alpha=1.5):
    return GradNorm(["speech", "speaker"], weight_lr=learning_rate, gradnorm_alpha=alpha)


def learn(weighting, *, losses, gradient_norms):
    """Take one step, with the norms of the gradients of the losses before they are weighted."""
    weights = weighting(losses)
    geometry = GradientGeometry(
        norms={name: weights[name] * norm for name, norm in gradient_norms.items()},
        inner_products={},
    )
    assert weighting.gradient_scales(losses, geometry) is None
    return weights


def test_a_step_equalizes_norms_as_computed_by_hand():
    weighting = grad_norm(learning_rate=0.1)
    used = learn(weighting, losses=by_task(3.0, 5.0), gradient_norms=by_task(8.0, 2.0))
    assert numbers(used) == {"speech": 0.5, "speaker": 0.5}
    # G is (4, 1) with the mean 2.5; both rates are 1, as it is the first step. Speech is above its
    # target and goes down by 0.1 * 4 / 2.5 on a logarithmic scale, speakers up by 0.1 * 1 / 2.5.
    speech, speaker = math.exp(-0.16), math.exp(0.04)
    assert numbers(weighting(by_task(3.0, 5.0))) == {
        "speech": pytest.approx(speech / (speech + speaker)),
        "speaker": pytest.approx(speaker / (speech + speaker)),
    }


def test_the_task_that_trains_more_slowly_gets_more_weight():
    weighting = grad_norm(learning_rate=0.1, alpha=1.5)
    learn(weighting, losses=by_task(4.0, 4.0), gradient_norms=by_task(1.0, 1.0))
    # Both norms are 0.5, and half and all of the losses are left: 0.5^1.5 = 0.354 and 1 give the
    # targets 0.354 / 1.354 = 0.26 and 0.74, one below and one above the norms.
    learn(weighting, losses=by_task(2.0, 4.0), gradient_norms=by_task(1.0, 1.0))
    odds = math.exp(-0.1) / math.exp(0.1)
    weights = numbers(weighting(by_task(2.0, 4.0)))
    assert weights["speech"] / weights["speaker"] == pytest.approx(odds)


def test_tasks_alike_in_rate_and_norm_keep_their_weights():
    weighting = grad_norm()
    for loss in (4.0, 3.0, 1.0):
        learn(weighting, losses=by_task(loss, 2 * loss), gradient_norms=by_task(0.7, 0.7))
    assert numbers(weighting(by_task(1.0, 1.0))) == {"speech": 0.5, "speaker": 0.5}


@pytest.mark.parametrize("alpha", [0.0, 1.0, 1.5, 3.0])
def test_the_fixed_point_has_the_norms_that_the_rates_ask_for(alpha):
    weighting = grad_norm(learning_rate=0.01, alpha=alpha)
    learn(weighting, losses=by_task(4.0, 8.0), gradient_norms=by_task(12.0, 1.0))
    for _ in range(1000):
        learn(weighting, losses=by_task(1.0, 6.0), gradient_norms=by_task(12.0, 1.0))
    weights = numbers(weighting(by_task(1.0, 6.0)))
    # A quarter and three quarters are left, a ratio of 1 to 3.
    wanted = (1 / 3) ** alpha
    assert 12 * weights["speech"] / weights["speaker"] == pytest.approx(wanted, rel=0.03)
    assert weights["speech"] + weights["speaker"] == pytest.approx(1)


def test_the_scale_of_the_gradients_does_not_matter():
    small, large = grad_norm(), grad_norm()
    for speech in (3.0, 2.0, 1.5):
        losses = by_task(speech, 2.0)
        learn(small, losses=losses, gradient_norms=by_task(3e-3, 1e-3))
        learn(large, losses=losses, gradient_norms=by_task(3e6, 1e6))
    torch.testing.assert_close(small.weights, large.weights)


@pytest.mark.parametrize(
    "unusable", [(0.0, 0.0), (0.0, 1.0), (math.inf, 1.0), (math.nan, 1.0)], ids=str
)
def test_a_step_without_usable_gradients_changes_nothing(unusable):
    weighting = grad_norm()
    learn(weighting, losses=by_task(9.0, 9.0), gradient_norms=by_task(*unusable))
    assert weighting.weights.tolist() == [0.5, 0.5]
    assert weighting.initial_losses.tolist() == [0, 0]  # the rates count from the next step
    learn(weighting, losses=by_task(4.0, 2.0), gradient_norms=by_task(1.0, 1.0))
    assert weighting.initial_losses.tolist() == [4, 2]
    after = weighting.weights.clone()
    learn(weighting, losses=by_task(1.0, 2.0), gradient_norms=by_task(*unusable))
    assert torch.equal(weighting.weights, after)


def test_weights_stay_positive_at_a_huge_learning_rate():
    weighting = grad_norm(learning_rate=3.0)
    for _ in range(50):
        learn(weighting, losses=by_task(1.0, 1.0), gradient_norms=by_task(1000.0, 1.0))
    assert weighting.weights.min() > 0
    assert weighting.weights.sum().item() == pytest.approx(1)


def test_learned_weights_resume_from_a_state_dict():
    uninterrupted, before, after = grad_norm(), grad_norm(), grad_norm()
    # One more after those that both know: two may be there and back again.
    steps = [(by_task(8.0 - step, 4.0), by_task(2.0, 1.0 + step)) for step in range(4)]
    for losses, norms in steps[:3]:
        learn(uninterrupted, losses=losses, gradient_norms=norms)
        learn(before, losses=losses, gradient_norms=norms)
    after.load_state_dict(before.state_dict())
    for losses, norms in steps[3:]:
        learn(uninterrupted, losses=losses, gradient_norms=norms)
        learn(after, losses=losses, gradient_norms=norms)
    assert torch.equal(after.weights, uninterrupted.weights)
    assert not torch.equal(after.weights, before.weights)


def test_the_order_of_the_losses_does_not_matter():
    one, other = grad_norm(), grad_norm()
    losses, norms = by_task(3.0, 1.0), by_task(2.0, 1.0)
    learn(one, losses=losses, gradient_norms=norms)
    reordered = dict(reversed(losses.items()))
    learn(other, losses=reordered, gradient_norms=dict(reversed(norms.items())))
    assert torch.equal(one.weights, other.weights)
