"""The forward pass against HuggingFace's own, with the same weights."""

import pytest
import torch
from transformers import AutoModelForCTC

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    small_config,
    small_speech_network,
)
from w2v2_mt.losses.ctc import CtcLoss


@pytest.fixture(params=sorted(UPSTREAMS))
def reference(request, tmp_path):
    torch.manual_seed(1)
    config = small_config(
        request.param, vocab_size=32, ctc_zero_infinity=True, ctc_loss_reduction="mean"
    )
    model = AutoModelForCTC.from_config(config).eval()
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def test_frames_equal_those_of_huggingface(reference):
    model, folder = reference
    network = small_speech_network(
        folder, reset_weights=False, regularisation=NO_REGULARISATION
    ).eval()
    waveforms = torch.randn(3, 16_000)
    with torch.no_grad():
        expected = model.base_model(waveforms).last_hidden_state
        frames, num_frames = network.trunk(waveforms, torch.full((3,), 16_000), tasks=["speech"])
    assert num_frames.tolist() == [49] * 3
    torch.testing.assert_close(frames["speech"], expected, atol=1e-5, rtol=0)


def test_frames_of_a_padded_batch_equal_those_of_huggingface_one_by_one(reference):
    model, folder = reference
    network = small_speech_network(folder, reset_weights=False).eval()
    waveforms, lengths = torch.randn(3, 16_000), [16_000, 9_000, 4_321]
    for row, length in enumerate(lengths):
        waveforms[row, length:] = 0
    with torch.no_grad():
        frames, num_frames = network.trunk(waveforms, torch.tensor(lengths), tasks=["speech"])
        for row, length in enumerate(lengths):
            expected = model.base_model(waveforms[row : row + 1, :length]).last_hidden_state[0]
            assert len(expected) == num_frames[row]
            torch.testing.assert_close(
                frames["speech"][row, : num_frames[row]], expected, atol=1e-5, rtol=0
            )


def test_ctc_equals_the_loss_of_huggingface(reference):
    model, folder = reference
    network = small_speech_network(
        folder, reset_weights=False, speech_head_huggingface_id=folder
    ).eval()
    waveforms, num_samples = torch.randn(2, 16_000), torch.tensor([16_000, 16_000])
    tokens = torch.tensor([[5, 6, 7, 8, 9], [10, 10, 11, 0, 0]])
    num_tokens = torch.tensor([5, 3])
    # HuggingFace takes labels below zero for padding.
    labels = tokens.masked_fill(torch.arange(5)[None] >= num_tokens[:, None], -100)
    with torch.no_grad():
        expected = model(waveforms, labels=labels).loss
        output = network(waveforms, num_samples)
        loss = CtcLoss(blank_index=0)(output.logits, output.num_frames, tokens, num_tokens).loss
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)


def test_outputs_of_all_layers_equal_those_of_huggingface(reference):
    model, folder = reference
    network = small_speech_network(folder, reset_weights=False, layer_weights="learned").eval()
    waveforms = torch.randn(2, 8_000)
    with torch.no_grad():
        theirs = model.base_model(waveforms, output_hidden_states=True)
        frames, num_frames = network.trunk.backbone(waveforms, torch.full((2,), 8_000))
        outputs, _ = network.trunk.encoder(frames, num_frames, tasks=["speech"], keep_all=True)
    # HuggingFace keeps the last one as it is in front of the final norm of a pre-norm model.
    expected = [*theirs.hidden_states[:-1], theirs.last_hidden_state]
    assert len(outputs["speech"]) == len(expected) == 5
    for ours, layer in zip(outputs["speech"], expected, strict=True):
        torch.testing.assert_close(ours, layer, atol=1e-5, rtol=0)


def test_gradients_equal_those_of_huggingface(reference):
    model, folder = reference
    network = small_speech_network(folder, reset_weights=False)
    waveforms = torch.randn(2, 8_000)
    weights = torch.randn(2, 24, 32)
    (model.base_model(waveforms).last_hidden_state * weights).mean().backward()
    frames, _ = network.trunk(waveforms, torch.full((2,), 8_000), tasks=["speech"])
    (frames["speech"] * weights).mean().backward()
    theirs = {name: p.grad for name, p in model.base_model.named_parameters()}
    for theirs_name, ours in (
        (
            "encoder.layers.0.attention.q_proj.weight",
            "encoder.shared.layers.0.attention.q_proj.weight",
        ),
        (
            "encoder.layers.3.feed_forward.output_dense.bias",
            "encoder.shared.layers.3.feed_forward.output_dense.bias",
        ),
        ("feature_projection.projection.weight", "backbone.projection.projection.weight"),
        ("feature_extractor.conv_layers.0.conv.weight", "backbone.convolutions.0.conv.weight"),
    ):
        torch.testing.assert_close(
            network.trunk.get_parameter(ours).grad, theirs[theirs_name], atol=1e-7, rtol=1e-4
        )
