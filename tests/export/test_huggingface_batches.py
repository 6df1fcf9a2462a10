"""An exported model has the same output for an utterance in a padded batch as alone."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForCTC,
    AutoProcessor,
    pipeline,
)

from tests.helpers.small_networks import UPSTREAMS, save_architecture, small_multi_task_network
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.export import huggingface
from w2v2_mt.inference.trained_network import TrainedNetwork

NUM_SAMPLES = (5_001, 16_000, 800, 9_999, 400, 12_345, 2_222, 7_000)
TRUST = {"trust_remote_code": True}
CLASS_TOKEN = {"stat_pooling_type": "first+cls+learnable"}


def waveforms() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(0.1 * rng.normal(size=n) + 0.02).astype(np.float32) for n in NUM_SAMPLES]


def trained_network(folder: Path, kind: str, **changes: object) -> TrainedNetwork:
    network = small_multi_task_network(save_architecture(str(folder), kind), **changes)
    settings = {"stat_pooling_type": "mean", "use_cosine_linear": True, "num_subcentres": 1}
    return TrainedNetwork(
        config_name="train_mt_speaker_speech",
        config={"experiment_name": "a name", "network": {**settings, **changes}},
        network=network.eval(),
        tokenizer=LetterTokenizer(vocabulary_path=None),
        num_speakers=5,
        normaliser=NormaliseWaveform(eps=1e-7),
        step=1,
        metrics={},
    )


@pytest.fixture
def export(tmp_path, monkeypatch):
    """Exports a network with random weights; returns it and its folder."""

    def write(kind: str, **changes: object) -> tuple[TrainedNetwork, Path]:
        trained = trained_network(tmp_path / "architecture", kind, **changes)
        with monkeypatch.context() as patch:
            patch.setattr(huggingface, "load_trained", lambda *_, **__: trained)
            huggingface.export(tmp_path / "best.ckpt", tmp_path / "exported")
        return trained, tmp_path / "exported"

    return write


def our_outputs(trained: TrainedNetwork, waveform: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits and the frames of an utterance alone."""
    scaled = trained.normaliser(torch.from_numpy(waveform))[None]
    num_samples = torch.tensor([scaled.shape[1]])
    with torch.no_grad():
        logits = trained.network.answer(scaled, num_samples)["speech"].logits[0]
        frames, _ = trained.network.trunk(scaled, num_samples, tasks=["speaker"])
    return logits, frames["speaker"][0]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [*((kind, {}) for kind in UPSTREAMS), ("base", CLASS_TOKEN), ("data2vec-audio", CLASS_TOKEN)],
)
def test_a_batch_has_the_outputs_of_each_utterance_alone(export, kind, changes):
    trained, folder = export(kind, **changes)
    processor = AutoProcessor.from_pretrained(folder, **TRUST)
    model = AutoModelForCTC.from_pretrained(folder, **TRUST).eval()
    encoder = AutoModel.from_pretrained(folder, **TRUST).eval()
    extractor = AutoFeatureExtractor.from_pretrained(folder, **TRUST)
    num_tokens = trained.network.trunk.num_class_tokens
    for rows in ([row] for row in range(len(NUM_SAMPLES))), [range(len(NUM_SAMPLES))]:
        for batch in rows:
            given = [waveforms()[row] for row in batch]
            inputs = processor(given, sampling_rate=16_000, padding=True, return_tensors="pt")
            with torch.no_grad():
                logits = model(**inputs).logits
                inputs = extractor(given, sampling_rate=16_000, padding=True, return_tensors="pt")
                frames = encoder(**inputs).last_hidden_state
            for position, waveform in enumerate(given):
                our_logits, our_frames = our_outputs(trained, waveform)
                of_row = logits[position, : len(our_logits)]
                assert (of_row - our_logits).abs().max() <= 2e-5
                padding = logits[position, len(our_logits) :]
                assert (padding.log_softmax(dim=-1)[:, model.config.pad_token_id] == 0).all()
                assert (frames[position, : len(our_frames)] - our_frames).abs().max() <= 2e-5
                assert not frames[position, len(our_frames) :].any()
                assert len(our_frames) == len(our_logits) + num_tokens


@pytest.mark.parametrize("changes", [{}, CLASS_TOKEN], ids=["plain", "class token"])
@pytest.mark.parametrize("kind", ["base", "large"])
def test_the_pipeline_gives_the_same_texts_in_batches(export, kind, changes):
    _, folder = export(kind, **changes)
    transcribe: Any = pipeline("automatic-speech-recognition", str(folder), trust_remote_code=True)
    one_by_one = [transcribe(waveform)["text"] for waveform in waveforms()]
    assert len(set(one_by_one)) > 1
    for batch_size in (4, 8):
        together = transcribe(waveforms(), batch_size=batch_size)
        assert [each["text"] for each in together] == one_by_one


@pytest.mark.parametrize("kind", ["base", "large"])
def test_transformers_alone_loads_what_has_no_class_token(export, kind):
    trained, folder = export(kind)
    model = AutoModelForCTC.from_pretrained(folder).eval()
    assert type(model).__name__ == "Wav2Vec2ForCTC"
    processor = AutoProcessor.from_pretrained(folder)
    waveform = waveforms()[0]
    inputs = processor(waveform, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        logits = model(**inputs).logits[0]
    assert (logits - our_outputs(trained, waveform)[0]).abs().max() <= 2e-5
    card = (folder / "README.md").read_text()
    assert ("one utterance at a time only" in card) == (kind == "base")
    assert ("cut each row to its number of valid frames" in card) == (kind == "large")


def test_an_utterance_without_a_frame_is_refused_in_a_batch_as_alone(export):
    _, folder = export("base")
    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForCTC.from_pretrained(folder, **TRUST).eval()
    for lengths in ([399], [5_000, 399]):
        given = [np.ones(length, dtype=np.float32) for length in lengths]
        inputs = processor(given, sampling_rate=16_000, padding=True, return_tensors="pt")
        with pytest.raises(ValueError, match=f"Utterance {len(lengths) - 1} .* 399 samples"):
            model(**inputs)


def test_each_file_has_the_mode_of_the_umask(export, tmp_path):
    former = os.umask(0o027)
    try:
        _, folder = export("base")
    finally:
        os.umask(former)
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.rglob("*")}
    assert {"model.safetensors", "speaker_head.safetensors", "README.md"} <= set(modes)
    assert set(modes.values()) == {0o640}
