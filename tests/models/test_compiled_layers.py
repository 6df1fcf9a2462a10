"""Compiled transformer layers compute what the plain ones do, for batches of any length."""

import copy

import jaxtyping
import pytest
import torch

from tests.helpers.small_networks import save_architecture, small_multi_task_network

pytestmark = [pytest.mark.slow, pytest.mark.programs("g++")]


def outputs_and_gradients(network, num_samples):
    """Run both tasks on noise of these lengths, forward and backward."""
    torch.manual_seed(0)
    lengths = torch.tensor(num_samples)
    waveforms = torch.randn(len(num_samples), max(num_samples))
    outputs = network.answer(waveforms, lengths)
    network.zero_grad()
    (outputs["speech"].logits.square().mean() + outputs["speaker"].logits.sum()).backward()
    gradients = {name: each.grad for name, each in network.named_parameters()}
    return outputs["speech"].logits, outputs["speaker"].embeddings, gradients


@pytest.fixture(autouse=True)
def without_type_checks(monkeypatch):
    """The checks of annotations in tests are not made for what is traced."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.parametrize("keys", [{}, {"use_gradient_checkpointing": True}])
def test_compiled_layers_are_equal_for_any_lengths_and_compiled_once(tmp_path, keys):
    architecture = save_architecture(tmp_path, "base", num_hidden_layers=3)
    network = small_multi_task_network(
        architecture, use_multi_branch_encoder=True, num_shared_transformers=2, **keys
    )
    compiled = copy.deepcopy(network)
    compiled.trunk.encoder.compile_layers()
    assert compiled.state_dict().keys() == network.state_dict().keys()
    num_graphs = []
    for lengths in ([8_000, 6_000], [9_600, 4_000, 3_000], [4_800, 2_000, 2_000, 1_000]):
        expected = outputs_and_gradients(network, lengths)
        torch.testing.assert_close(
            outputs_and_gradients(compiled, lengths), expected, rtol=1e-4, atol=1e-5
        )
        num_graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert num_graphs[0] > 0
    assert num_graphs[1:] == num_graphs[:2]
