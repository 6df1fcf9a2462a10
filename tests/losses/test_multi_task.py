import math

import pytest
import torch

from tests.helpers.reads_of_numbers import ReadsOfNumbers
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss, MultiTaskLossSettings
from w2v2_mt.losses.speaker_loss import CrossEntropyLoss
from w2v2_mt.losses.weighting import WEIGHTINGS, EqualWeighting

OPTIONS = {
    "static_speech_weight": 0.2,
    "dwa_weight_sum": 2.0,
    "dwa_temperature": 1.0,
    "dwa_window": 4,
    "weight_lr": 0.1,
    "gradnorm_alpha": 1.5,
}
ALL_METHODS = [None, *WEIGHTINGS.names]


def multi_task_loss(scale_method):
    settings = MultiTaskLossSettings(
        ctc_loss=CtcLoss(blank_index=0),
        speaker_loss=CrossEntropyLoss(),
        scale_method=scale_method,
        gradient_diagnostics_every_n_steps=None,
        **OPTIONS,
    )
    return settings.build(["speech", "speaker"])


@pytest.fixture
def losses():
    return {
        "speech": torch.tensor(3.0, requires_grad=True),
        "speaker": torch.tensor(5.0, requires_grad=True),
    }


@pytest.mark.parametrize("scale_method", ALL_METHODS)
def test_it_is_the_weighted_sum_of_the_losses(losses, scale_method):
    result = multi_task_loss(scale_method)(losses)
    assert result.losses == losses
    assert {task: loss.item() for task, loss in result.mean_losses.items()} == {
        "speech": 3,
        "speaker": 5,
    }
    without_gradient = [*result.mean_losses.values(), *result.weights.values()]
    assert not any(value.requires_grad for value in without_gradient)
    expected = 3 * result.weights["speech"] + 5 * result.weights["speaker"]
    torch.testing.assert_close(result.loss, expected)


@pytest.mark.parametrize("scale_method", ["uncertainty", "static", None])
def test_several_tasks_log_their_losses_and_weights(losses, scale_method):
    result = multi_task_loss(scale_method)(losses)
    assert list(result.metrics()) == [
        "train_loss",
        "train_speech_loss",
        "train_speech_loss_weight",
        "train_speaker_loss",
        "train_speaker_loss_weight",
    ]


def test_an_only_task_has_its_loss_unchanged():
    loss = torch.tensor(0.1, requires_grad=True)
    result = MultiTaskLoss(weighting=EqualWeighting())({"speech": loss})
    assert result.metrics() == {"train_loss": loss}
    result.loss.backward()
    assert loss.grad.item() == 1


def test_equal_weights_are_halves_and_static_ones_sum_to_one(losses):
    equal = multi_task_loss(None)(losses).weights
    static = multi_task_loss("static")(losses).weights
    assert {name: weight.item() for name, weight in equal.items()} == {
        "speech": 0.5,
        "speaker": 0.5,
    }
    assert {name: weight.item() for name, weight in static.items()} == {
        "speech": pytest.approx(0.2),
        "speaker": pytest.approx(0.8),
    }


def test_the_gradient_of_a_task_is_scaled_by_its_weight_only(losses):
    # The weights of "min" depend on both losses, but no gradient may flow through them.
    result = multi_task_loss("min")(losses)
    result.loss.backward()
    for task, loss in losses.items():
        torch.testing.assert_close(loss.grad, result.weights[task])


def test_learned_uncertainties_cost_their_penalty(losses):
    loss = multi_task_loss("uncertainty")
    with torch.no_grad():
        loss.weighting.log_variances.copy_(torch.tensor([2.0, -1.0]))
    expected = math.exp(-2) * 3 + math.exp(1) * 5 + (2 - 1) / 2
    assert loss(losses).loss.item() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scale_method", "names"),
    [
        ("min", set()),
        ("dwa", {"weighting.loss_window", "weighting.num_seen"}),
        ("uncertainty", {"weighting.log_variances"}),
        ("gradnorm", {"weighting.weights", "weighting.initial_losses"}),
        ("pcgrad", set()),
    ],
)
def test_the_state_of_the_weighting_is_saved(scale_method, names):
    assert set(multi_task_loss(scale_method).state_dict()) == names


class SharedLayer(torch.nn.Module):
    """A layer for both tasks and a head for each, on the same batches at each call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.shared = torch.nn.Linear(6, 8)
        self.speech_head = torch.nn.Linear(8, 5)
        self.speaker_head = torch.nn.Linear(8, 7)
        self.speech_input, self.speaker_input = torch.randn(2, 9, 6), torch.randn(3, 6)

    def losses(self):
        logits = self.speech_head(self.shared(self.speech_input))
        speaker_logits = self.speaker_head(self.shared(self.speaker_input))
        tokens = torch.tensor([[1, 2, 3], [4, 4, 0]])
        lengths = torch.tensor([9, 1]), torch.tensor([3, 2])
        return {
            "speech": CtcLoss(blank_index=0)(logits, lengths[0], tokens, lengths[1]).loss,
            "speaker": CrossEntropyLoss()(speaker_logits, torch.tensor([0, 6, 3])),
        }

    def backward_per_task(self, loss, result, *, scale=1.0):
        return loss.backward_per_task(
            scale * result.loss,
            result,
            shared=list(self.shared.parameters()),
            unshared=[*self.speech_head.parameters(), *self.speaker_head.parameters()],
        )

    def gradients(self):
        return {name: parameter.grad.clone() for name, parameter in self.named_parameters()}


@pytest.mark.parametrize("scale_method", sorted(set(ALL_METHODS) - {None, "pcgrad"}))  # type: ignore[type-var]
def test_per_task_or_together_the_gradients_are_the_same(scale_method):
    network = SharedLayer()
    # Two of them, since the weights of a second step may differ from those of the first.
    loss, again = multi_task_loss(scale_method), multi_task_loss(scale_method)
    loss(network.losses()).loss.backward()
    weight_gradients = [parameter.grad for parameter in loss.weighting.parameters()]
    together = network.gradients()
    network.zero_grad()
    network.backward_per_task(again, again(network.losses()))
    torch.testing.assert_close(network.gradients(), together)
    own = [parameter.grad for parameter in again.weighting.parameters()]
    torch.testing.assert_close(own, weight_gradients)


def test_pcgrad_projects_shared_gradients_and_keeps_those_of_the_heads():
    network = SharedLayer()
    plain = multi_task_loss(None)
    result = plain(network.losses())
    shared = list(network.shared.parameters())
    speech, speaker = (
        torch.cat([part.flatten() for part in torch.autograd.grad(0.5 * task, shared)])
        for task in (result.losses["speech"], result.losses["speaker"])
    )
    assert speech @ speaker < 0  # the seed is chosen so
    plain(network.losses()).loss.backward()
    of_sum = network.gradients()
    network.zero_grad()

    loss = multi_task_loss("pcgrad")
    network.backward_per_task(loss, loss(network.losses()))
    speech_part = speech - (speech @ speaker) / (speaker @ speaker) * speaker
    speaker_part = speaker - (speech @ speaker) / (speech @ speech) * speech
    step = torch.cat([parameter.grad.flatten() for parameter in shared])
    torch.testing.assert_close(step, speech_part + speaker_part)
    for name, gradient in network.gradients().items():
        if not name.startswith("shared"):
            torch.testing.assert_close(gradient, of_sum[name])


@pytest.mark.parametrize("scale_method", ["gradnorm", "pcgrad"])
def test_a_grad_scaler_scales_gradients_and_changes_nothing_else(scale_method):
    gradients, states, geometries = [], [], []
    for scale in (1.0, 2.0**12):
        network = SharedLayer()
        loss = multi_task_loss(scale_method)
        geometries.append(network.backward_per_task(loss, loss(network.losses()), scale=scale))
        gradients.append({name: grad / scale for name, grad in network.gradients().items()})
        states.append(loss.state_dict())
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(states[0], states[1])
    torch.testing.assert_close(geometries[0].norms, geometries[1].norms)
    torch.testing.assert_close(geometries[0].cosines(), geometries[1].cosines())


@pytest.mark.parametrize("scale_method", ALL_METHODS)
def test_no_value_is_read_back_in_weighting_and_backward_pass(scale_method):
    network = SharedLayer()
    loss = multi_task_loss(scale_method)
    for _ in range(2):
        result = loss(network.losses())
        with ReadsOfNumbers() as reads:
            loss.weighting(result.mean_losses)
            geometry = network.backward_per_task(loss, result)
            geometry.cosines()
    assert reads.names == []
    with ReadsOfNumbers() as reads:
        geometry.metrics()
    assert reads.names == 3 * ["_local_scalar_dense"]
