import math
from typing import get_args

import pytest
import torch
from reads_of_numbers import ReadsOfNumbers

from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.losses.weighting import ScaleMethod

SETTINGS = {
    "static_speech_weight": 0.2,
    "dwa_weight_sum": 2.0,
    "dwa_temperature": 1.0,
    "dwa_window": 4,
    "weight_lr": 0.1,
    "gradnorm_alpha": 1.5,
    "gradient_diagnostics_every_n_steps": None,
}
ALL_METHODS = [None, *get_args(ScaleMethod)]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return {
        "speech_logits": torch.randn(2, 9, 5, generator=generator).requires_grad_(),
        "num_frames": torch.tensor([9, 1]),
        "letters": torch.tensor([[1, 2, 3], [4, 4, 0]]),
        "num_letters": torch.tensor([3, 2]),
        "speaker_logits": (torch.rand(3, 7, generator=generator) * 2 - 1).requires_grad_(),
        "speaker_indices": torch.tensor([0, 6, 3]),
    }


def multi_task_loss(*, scale_method, speaker_loss):
    return MultiTaskLoss(
        ctc_loss=CtcLoss(blank_index=0),
        speaker_loss=speaker_loss,
        scale_method=scale_method,
        **SETTINGS,
    )


@pytest.mark.parametrize("scale_method", ALL_METHODS)
@pytest.mark.parametrize(
    "speaker_loss", [AamSoftmaxLoss(margin=0.2, scale=30.0), CrossEntropyLoss()]
)
def test_it_is_the_weighted_sum_of_the_two_losses(batch, scale_method, speaker_loss):
    result = multi_task_loss(scale_method=scale_method, speaker_loss=speaker_loss)(**batch)
    speech_names = ("speech_logits", "num_frames", "letters", "num_letters")
    speech = CtcLoss(blank_index=0)(*(batch[name] for name in speech_names)).loss
    speaker = speaker_loss(batch["speaker_logits"], batch["speaker_indices"])
    torch.testing.assert_close(result.losses, {"speech": speech, "speaker": speaker})
    torch.testing.assert_close(result.mean_losses, {"speech": speech, "speaker": speaker})
    without_gradient = [*result.mean_losses.values(), *result.weights.values()]
    assert not any(value.requires_grad for value in without_gradient)
    expected = result.weights["speech"] * speech + result.weights["speaker"] * speaker
    torch.testing.assert_close(result.loss, expected)
    assert result.num_unalignable.item() == 1


def test_equal_weights_are_halves_and_static_ones_sum_to_one(batch):
    speaker_loss = CrossEntropyLoss()
    equal = multi_task_loss(scale_method=None, speaker_loss=speaker_loss)(**batch).weights
    static = multi_task_loss(scale_method="static", speaker_loss=speaker_loss)(**batch).weights
    assert {name: weight.item() for name, weight in equal.items()} == {
        "speech": 0.5,
        "speaker": 0.5,
    }
    assert {name: weight.item() for name, weight in static.items()} == {
        "speech": pytest.approx(0.2),
        "speaker": pytest.approx(0.8),
    }


def test_the_gradient_of_a_task_is_scaled_by_its_weight_only(batch):
    # The weights of "min" depend on both losses, but no gradient may flow through them.
    result = multi_task_loss(scale_method="min", speaker_loss=CrossEntropyLoss())(**batch)
    result.loss.backward(retain_graph=True)
    (of_speech,) = torch.autograd.grad(result.losses["speech"], batch["speech_logits"])
    torch.testing.assert_close(batch["speech_logits"].grad, result.weights["speech"] * of_speech)


def test_learned_uncertainties_cost_their_penalty(batch):
    loss = multi_task_loss(scale_method="uncertainty", speaker_loss=CrossEntropyLoss())
    with torch.no_grad():
        loss.weighting.log_variances.copy_(torch.tensor([2.0, -1.0]))
    result = loss(**batch)
    speech, speaker = result.losses["speech"], result.losses["speaker"]
    expected = math.exp(-2) * speech + math.exp(1) * speaker + (2 - 1) / 2
    torch.testing.assert_close(result.loss, expected)


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
    loss = multi_task_loss(scale_method=scale_method, speaker_loss=CrossEntropyLoss())
    assert set(loss.state_dict()) == names


class SharedLayer(torch.nn.Module):
    """A layer for both tasks and a head for each, on batches that are always the same."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(7)
        self.shared = torch.nn.Linear(6, 8)
        self.speech_head = torch.nn.Linear(8, 5)
        self.speaker_head = torch.nn.Linear(8, 7)
        self.speech_input, self.speaker_input = torch.randn(2, 9, 6), torch.randn(3, 6)

    def result(self, loss, batch):
        return loss(
            **{
                **batch,
                "speech_logits": self.speech_head(self.shared(self.speech_input)),
                "speaker_logits": self.speaker_head(self.shared(self.speaker_input)),
            }
        )

    def backward_apart(self, loss, result, *, scale=1.0):
        return loss.backward_apart(
            scale * result.loss,
            result,
            shared=list(self.shared.parameters()),
            others=[*self.speech_head.parameters(), *self.speaker_head.parameters()],
        )

    def gradients(self):
        return {name: parameter.grad.clone() for name, parameter in self.named_parameters()}


@pytest.mark.parametrize("scale_method", sorted(set(ALL_METHODS) - {None, "pcgrad"}))
def test_apart_or_together_the_gradients_are_the_same(batch, scale_method):
    network = SharedLayer()
    # Two of them, since the weights of a second step may differ from those of the first.
    loss, again = (
        multi_task_loss(scale_method=scale_method, speaker_loss=CrossEntropyLoss())
        for _ in range(2)
    )
    network.result(loss, batch).loss.backward()
    weight_gradients = [parameter.grad for parameter in loss.weighting.parameters()]
    together = network.gradients()
    network.zero_grad()
    network.backward_apart(again, network.result(again, batch))
    torch.testing.assert_close(network.gradients(), together)
    own = [parameter.grad for parameter in again.weighting.parameters()]
    torch.testing.assert_close(own, weight_gradients)


def test_pcgrad_projects_what_the_tasks_share_and_leaves_the_heads(batch):
    network = SharedLayer()
    plain = multi_task_loss(scale_method=None, speaker_loss=CrossEntropyLoss())
    result = network.result(plain, batch)
    shared = list(network.shared.parameters())
    speech, speaker = (
        torch.cat([part.flatten() for part in torch.autograd.grad(0.5 * task, shared)])
        for task in (result.losses["speech"], result.losses["speaker"])
    )
    assert speech @ speaker < 0  # the seed is chosen so
    network.result(plain, batch).loss.backward()
    of_sum = network.gradients()
    network.zero_grad()

    loss = multi_task_loss(scale_method="pcgrad", speaker_loss=CrossEntropyLoss())
    network.backward_apart(loss, network.result(loss, batch))
    speech_part = speech - (speech @ speaker) / (speaker @ speaker) * speaker
    speaker_part = speaker - (speech @ speaker) / (speech @ speech) * speech
    step = torch.cat([parameter.grad.flatten() for parameter in shared])
    torch.testing.assert_close(step, speech_part + speaker_part)
    for name, gradient in network.gradients().items():
        if not name.startswith("shared"):
            torch.testing.assert_close(gradient, of_sum[name])


@pytest.mark.parametrize("scale_method", ["gradnorm", "pcgrad"])
def test_a_grad_scaler_scales_gradients_and_changes_nothing_else(batch, scale_method):
    gradients, states, geometries = [], [], []
    for scale in (1.0, 2.0**12):
        network = SharedLayer()
        loss = multi_task_loss(scale_method=scale_method, speaker_loss=CrossEntropyLoss())
        geometries.append(network.backward_apart(loss, network.result(loss, batch), scale=scale))
        gradients.append({name: grad / scale for name, grad in network.gradients().items()})
        states.append(loss.state_dict())
    torch.testing.assert_close(gradients[0], gradients[1])
    torch.testing.assert_close(states[0], states[1])
    torch.testing.assert_close(geometries[0].norms, geometries[1].norms)
    torch.testing.assert_close(geometries[0].cosine, geometries[1].cosine)


@pytest.mark.parametrize("scale_method", ALL_METHODS)
def test_no_number_is_read_back_in_weighting_and_backward_pass(batch, scale_method):
    network = SharedLayer()
    loss = multi_task_loss(scale_method=scale_method, speaker_loss=CrossEntropyLoss())
    for _ in range(2):
        result = network.result(loss, batch)
        with ReadsOfNumbers() as reads:
            loss.weighting(result.mean_losses)
            geometry = network.backward_apart(loss, result)
            _ = geometry.cosine
    assert reads.names == []
    with ReadsOfNumbers() as reads:
        geometry.cosine.item()
    assert reads.names == ["_local_scalar_dense"]
