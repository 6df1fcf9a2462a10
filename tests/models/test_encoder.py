import pytest
import torch

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    save_architecture,
    small_multi_task_network,
)
from w2v2_mt.models.regularisation import Regularisation

WAVEFORMS, NUM_SAMPLES = torch.randn(2, 6_000), torch.tensor([6_000, 4_000])


def network_that_drops(tmp_path, kind, probability):
    regularisation = Regularisation(**{**vars(NO_REGULARISATION), "layerdrop": probability})
    return small_multi_task_network(
        save_architecture(tmp_path, kind),
        regularisation=regularisation,
        use_multi_branch_encoder=True,
        num_shared_transformers=2,
    )


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_dropped_layers_pass_on_what_they_got_in_branches_too(tmp_path, kind):
    network = network_that_drops(tmp_path, kind, 1.0)
    network(WAVEFORMS, NUM_SAMPLES).speech.logits.square().mean().backward()
    encoder = network.trunk.encoder
    layers = [
        layer for stack in (encoder.shared, *encoder.branches.values()) for layer in stack.layers
    ]
    assert len(layers) == 2 + 2 * 2
    assert all(p.grad is None for layer in layers for p in layer.parameters())
    frames, num_frames = network.trunk.backbone(WAVEFORMS, NUM_SAMPLES)
    outputs, _ = encoder(frames, num_frames, tasks=["speech", "speaker"], keep_all=True)
    for of_layers in outputs.values():
        assert len(of_layers) == 5
        # All but the last, which a pre-norm model normalises.
        assert all(torch.equal(frames, of_layers[0]) for frames in of_layers[1:4])


def test_no_layer_is_dropped_in_evaluation(tmp_path):
    with_drop = network_that_drops(tmp_path, "base", 1.0).eval()
    without = network_that_drops(tmp_path, "base", 0.0).eval()
    without.load_state_dict(with_drop.state_dict())
    with torch.no_grad():
        dropped, kept = with_drop(WAVEFORMS, NUM_SAMPLES), without(WAVEFORMS, NUM_SAMPLES)
    assert torch.equal(dropped.speech.logits, kept.speech.logits)


def test_each_layer_is_dropped_as_often_as_asked(tmp_path):
    torch.manual_seed(7)
    network = network_that_drops(tmp_path, "base", 0.3)
    encoder = network.trunk.encoder
    stacks = [encoder.shared, encoder.branches["speech"]]
    counts = dict.fromkeys([layer for stack in stacks for layer in stack.layers], 0)
    for layer in counts:
        layer.register_forward_hook(
            lambda layer, inputs, output: counts.update({layer: counts[layer] + 1})
        )
    num_steps = 300
    with torch.no_grad():
        for _ in range(num_steps):
            network.answer(WAVEFORMS[:, :800], torch.tensor([800, 800]), tasks=["speech"])["speech"]
    # Four standard deviations of a binomial: 4 * sqrt(300 * 0.3 * 0.7) = 32.
    assert all(abs(count - 0.7 * num_steps) < 32 for count in counts.values())
