"""The forward pass against HuggingFace's own, with the same weights."""

import pytest
import torch
from small_networks import KINDS, NO_REGULARISATION, small_config, small_speech_network
from transformers import Wav2Vec2ForCTC

from w2v2_mt.losses.ctc import CtcLoss


@pytest.fixture(params=sorted(KINDS))
def reference(request, tmp_path):
    torch.manual_seed(1)
    config = small_config(
        request.param, vocab_size=32, ctc_zero_infinity=True, ctc_loss_reduction="mean"
    )
    model = Wav2Vec2ForCTC(config).eval()
    model.save_pretrained(tmp_path)
    return model, str(tmp_path)


def test_frames_equal_those_of_huggingface(reference):
    model, folder = reference
    network = small_speech_network(
        folder, reset_weights=False, regularisation=NO_REGULARISATION
    ).eval()
    waveforms = torch.randn(3, 16_000)
    with torch.no_grad():
        expected = model.wav2vec2(waveforms).last_hidden_state
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
            expected = model.wav2vec2(waveforms[row : row + 1, :length]).last_hidden_state[0]
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
    letters = torch.tensor([[5, 6, 7, 8, 9], [10, 10, 11, 0, 0]])
    num_letters = torch.tensor([5, 3])
    # HuggingFace takes labels below zero for padding.
    labels = letters.masked_fill(torch.arange(5)[None] >= num_letters[:, None], -100)
    with torch.no_grad():
        expected = model(waveforms, labels=labels).loss
        output = network(waveforms, num_samples)
        loss = CtcLoss(blank_index=0)(output.logits, output.num_frames, letters, num_letters).loss
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
