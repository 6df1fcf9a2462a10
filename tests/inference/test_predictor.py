"""Files for which a network returns no numbers, or no frame."""

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.small_networks import save_architecture, small_multi_task_network
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.inference.predictor import Predictor
from w2v2_mt.inference.trained_network import TrainedNetwork


@pytest.fixture
def predictor(tmp_path) -> Predictor:
    trained = TrainedNetwork(
        config_name="train_mt_speaker_speech",
        config={},
        network=small_multi_task_network(save_architecture(str(tmp_path / "a"), "base")).eval(),
        tokenizer=LetterTokenizer(vocabulary_path=None),
        num_speakers=5,
        normaliser=NormaliseWaveform(eps=1e-7),
        step=1,
        metrics={},
    )
    return Predictor(
        trained,
        device=torch.device("cpu"),
        precision="32-true",
        window_sec=1,
        overlap_sec=0.4,
        max_batch_sec=4,
    )


@pytest.fixture
def paths(tmp_path) -> list:
    files = {"a.wav": 8_000, "b.wav": 40_000, "c.wav": 399, "d.wav": 400}
    for name, num_samples in files.items():
        samples = 0.1 * np.random.default_rng(0).normal(size=num_samples)
        soundfile.write(tmp_path / name, samples, 16_000)
    return [tmp_path / name for name in files]


def predict(predictor, paths):
    refusals: list[str] = []
    progress: list[float] = []
    predictions = predictor.predict(paths, on_refusal=refusals.append, on_progress=progress.append)
    names = [prediction.audio.path.name for prediction in predictions]
    assert sum(progress) == pytest.approx(len(paths))
    return names, refusals


def test_a_file_without_a_frame_is_refused_by_its_name(predictor, paths):
    names, (refusal,) = predict(predictor, paths)
    assert names == ["a.wav", "b.wav", "d.wav"]
    assert "c.wav is 25 ms long, too short for one frame. It has 399 samples" in refusal
    assert "at least 400 samples (25 ms)" in refusal


@pytest.mark.parametrize("head", ["speech_head.linear", "speaker_head.pooling"])
def test_files_with_nan_are_refused_and_others_are_not(predictor, paths, monkeypatch, head):
    answer = predictor.network.answer

    def spoiled(waveforms, num_samples):
        outputs = answer(waveforms, num_samples)
        is_window_of_b = num_samples > 8_000
        if head.startswith("speech"):
            outputs["speech"].logits[is_window_of_b, 3, 2] = float("nan")
        else:
            outputs["speaker"].embeddings[is_window_of_b, 1] = float("inf")
        return outputs

    monkeypatch.setattr(predictor.network, "answer", spoiled)
    names, refusals = predict(predictor, [*paths[:2], paths[3]])
    assert names == ["a.wav", "d.wav"]
    assert len(refusals) == 1
    assert "b.wav is skipped, as the network returned NaN or infinity" in refusals[0]
