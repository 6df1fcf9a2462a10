import math

import pytest
import torch

from tests.helpers.small_networks import UPSTREAMS, save_architecture, small_multi_task_network
from w2v2_mt.models.sharing import LayerSum

WAVEFORMS, NUM_SAMPLES = torch.randn(2, 6_000), torch.tensor([6_000, 4_000])


def test_all_layers_count_alike_at_first_and_then_by_softmax():
    weights = LayerSum(3)
    outputs = [torch.full((1, 2, 4), float(value)) for value in (1, 2, 6)]
    torch.testing.assert_close(weights(outputs), torch.full((1, 2, 4), 3.0))
    with torch.no_grad():
        weights.logits.copy_(torch.tensor([0.0, math.log(2), 0.0]))
    # (1 * 1 + 2 * 2 + 1 * 6) / 4
    torch.testing.assert_close(weights(outputs), torch.full((1, 2, 4), 2.75))


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
@pytest.mark.parametrize("is_branched", [False, True])
def test_a_network_with_all_weight_on_the_last_layer_is_the_network_without(
    tmp_path, kind, is_branched
):
    architecture = save_architecture(tmp_path, kind)
    networks = {}
    for layer_weights in ("last", "learned"):
        torch.manual_seed(1)
        networks[layer_weights] = small_multi_task_network(
            architecture, layer_weights=layer_weights, use_multi_branch_encoder=is_branched
        ).eval()
    learned = networks["learned"]
    learned.load_state_dict(networks["last"].state_dict(), strict=False)
    assert [len(weights.logits) for weights in learned.trunk.layer_weights.values()] == [5, 5]
    with torch.no_grad():
        for weights in learned.trunk.layer_weights.values():
            weights.logits[-1] = 100
        expected, output = networks["last"](WAVEFORMS, NUM_SAMPLES), learned(WAVEFORMS, NUM_SAMPLES)
    torch.testing.assert_close(output.speech.logits, expected.speech.logits)
    torch.testing.assert_close(output.speaker.embeddings, expected.speaker.embeddings)


def test_layer_weights_are_trained_while_the_encoder_is_frozen(tmp_path):
    network = small_multi_task_network(
        save_architecture(tmp_path, "base"), layer_weights="learned", wav2vec_initially_frozen=True
    )
    output = network(WAVEFORMS, NUM_SAMPLES)
    (output.speech.logits.square().mean() + output.speaker.embeddings.square().mean()).backward()
    trained = {name for name, p in network.trunk.named_parameters() if p.grad is not None}
    assert trained == {"layer_weights.speech.logits", "layer_weights.speaker.logits"}
