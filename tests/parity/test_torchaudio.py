"""The forward pass against torchaudio's wav2vec2, filled by torchaudio's own importer."""

import pytest
import torch
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import Wav2Vec2ForCTC

from tests.helpers.small_networks import KINDS, small_config, small_speech_network


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_tokens_equal_those_of_torchaudio(kind, tmp_path):
    torch.manual_seed(1)
    model = Wav2Vec2ForCTC(small_config(kind, vocab_size=32)).eval()
    model.save_pretrained(tmp_path)
    folder = str(tmp_path)
    network = small_speech_network(
        folder, reset_weights=False, speech_head_huggingface_id=folder
    ).eval()
    reference = import_huggingface_model(model).eval()
    waveforms = torch.randn(2, 16_000)
    with torch.no_grad():
        expected, _ = reference(waveforms)
        output = network(waveforms, torch.full((2,), 16_000))
    torch.testing.assert_close(output.logits, expected, atol=1e-5, rtol=0)
