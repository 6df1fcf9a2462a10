import itertools
import math

import pytest
import torch
from torch import nn

from w2v2_mt.losses.task_gradients import GradientGeometry, compute_task_gradients


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(5)


class TwoHeads(nn.Module):
    """A shared layer, one that only speech passes at this step, and two heads."""

    def __init__(self):
        super().__init__()
        self.shared = nn.Linear(3, 4)
        self.dropped_for_speakers = nn.Linear(4, 4)
        self.speech = nn.Linear(4, 1)
        self.speaker = nn.Linear(4, 1)
        self.unused = nn.Linear(4, 1)

    def losses(self, device="cpu"):
        """Return losses on inputs of their own, the same at each call."""
        first = torch.linspace(-1, 1, 6, device=device).reshape(2, 3)
        frames = self.dropped_for_speakers(self.shared(first).tanh())
        return {
            "speech": self.speech(frames).square().mean(),
            "speaker": self.speaker(self.shared(1 - first).tanh()).square().mean(),
        }

    def shared_parameters(self):
        return [*self.shared.parameters(), *self.dropped_for_speakers.parameters()]

    def other_parameters(self):
        heads = (self.speech, self.speaker, self.unused)
        return [parameter for head in heads for parameter in head.parameters()]


WEIGHTS = {"speech": torch.tensor(0.3), "speaker": torch.tensor(0.7)}


def gradients_of(network, *, scale=1.0, weights=WEIGHTS, weight_parameters=()):
    losses = network.losses()
    total = scale * sum(weights[task] * loss for task, loss in losses.items())
    return compute_task_gradients(
        total,
        losses=losses,
        weights={task: weight.detach() for task, weight in weights.items()},
        weight_parameters=weight_parameters,
        shared=network.shared_parameters(),
        unshared=network.other_parameters(),
    )


def shared_vector(network, task):
    """Return the gradient of one weighted loss, by a backward pass of its own."""
    network.zero_grad()
    (WEIGHTS[task] * network.losses()[task]).backward()
    parts = [
        torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for parameter in network.shared_parameters()
    ]
    network.zero_grad()
    return torch.cat([part.flatten() for part in parts])


def test_the_sum_is_what_one_backward_pass_gives_and_is_added_to_what_was_there():
    network = TwoHeads()
    for _ in range(2):
        sum(WEIGHTS[task] * loss for task, loss in network.losses().items()).backward()
    expected = {name: parameter.grad for name, parameter in network.named_parameters()}
    network.zero_grad()
    for _ in range(2):
        gradients_of(network).accumulate()
    for name, parameter in network.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])
    assert network.unused.weight.grad is None


def test_norms_and_cosine_are_those_of_the_flat_gradients():
    network = TwoHeads()
    speech, speaker = shared_vector(network, "speech"), shared_vector(network, "speaker")
    geometry = gradients_of(network).geometry()
    assert list(geometry.norms) == ["speech", "speaker"]
    torch.testing.assert_close(geometry.norms["speech"], speech.norm())
    torch.testing.assert_close(geometry.norms["speaker"], speaker.norm())
    torch.testing.assert_close(geometry.inner_products["speech", "speaker"], speech @ speaker)
    cosine = torch.nn.functional.cosine_similarity(speech, speaker, dim=0)
    torch.testing.assert_close(geometry.cosines(), {("speech", "speaker"): cosine})


def test_the_factor_of_a_grad_scaler_is_in_the_gradients_but_not_in_their_geometry():
    network = TwoHeads()
    plain, scaled = gradients_of(network).geometry(), gradients_of(network, scale=2.0**14)
    geometry = scaled.geometry()
    torch.testing.assert_close(geometry.norms, plain.norms)
    torch.testing.assert_close(geometry.inner_products, plain.inner_products)
    scaled.accumulate()
    scaled_gradient = network.shared.weight.grad
    network.zero_grad()
    gradients_of(network).accumulate()
    torch.testing.assert_close(scaled_gradient, 2.0**14 * network.shared.weight.grad)


def test_scales_change_shared_gradients_only():
    network = TwoHeads()
    speech, speaker = shared_vector(network, "speech"), shared_vector(network, "speaker")
    gradients_of(network).accumulate()
    heads = [network.speech.weight.grad, network.speaker.weight.grad]
    network.zero_grad()
    scales = {"speech": torch.tensor(3.0), "speaker": torch.tensor(-2.0)}
    gradients_of(network).accumulate(scales)
    shared = torch.cat([parameter.grad.flatten() for parameter in network.shared_parameters()])
    torch.testing.assert_close(shared, 3 * speech - 2 * speaker)
    torch.testing.assert_close([network.speech.weight.grad, network.speaker.weight.grad], heads)


def test_weights_that_are_learned_get_their_gradient_too():
    network = TwoHeads()
    log_variances = nn.Parameter(torch.tensor([0.5, -0.5]))
    weights = dict(zip(WEIGHTS, torch.exp(-log_variances), strict=True))
    gradients_of(network, weights=weights, weight_parameters=[log_variances]).accumulate()
    losses = torch.stack(list(network.losses().values())).detach()
    torch.testing.assert_close(log_variances.grad, (-torch.exp(-log_variances) * losses).detach())


def test_the_cosine_is_zero_where_a_task_has_no_gradient():
    network = TwoHeads()
    with torch.no_grad():
        network.speaker.weight.zero_()
    geometry = gradients_of(network).geometry()
    (cosine,) = geometry.cosines().values()
    assert geometry.norms["speaker"].item() == cosine.item() == 0


def test_a_comparison_names_its_only_pair_of_tasks_or_each_pair():
    def metrics(*tasks):
        vectors = {task: torch.ones(2) for task in tasks}
        pairs = {pair: torch.tensor(1.0) for pair in itertools.combinations(vectors, 2)}
        norms = {task: vector.norm() for task, vector in vectors.items()}
        return GradientGeometry(norms=norms, inner_products=pairs).metrics()

    assert metrics("speech", "speaker") == pytest.approx(
        {
            "train_speech_gradient_norm": math.sqrt(2),
            "train_speaker_gradient_norm": math.sqrt(2),
            "train_gradient_cosine": 0.5,
        }
    )
    assert {name for name in metrics("a", "b", "c") if name.endswith("cosine")} == {
        "train_a_b_gradient_cosine",
        "train_a_c_gradient_cosine",
        "train_b_c_gradient_cosine",
    }


def test_each_hook_of_a_parameter_is_called_once():
    network = TwoHeads()
    calls = []
    for name, parameter in network.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda _, name=name: calls.append(name))
    gradients = gradients_of(network)
    assert calls == []
    gradients.accumulate()
    reached = [name for name, _ in network.named_parameters() if not name.startswith("unused")]
    assert sorted(calls) == sorted(reached)
