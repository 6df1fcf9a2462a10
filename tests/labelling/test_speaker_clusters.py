import numpy as np
import pytest

from w2v2_mt.labelling import speaker_clusters
from w2v2_mt.labelling.speaker_clusters import cluster_speakers, cosines_to_speakers


def voices(num_speakers: int, num_utterances: int, *, noise: float) -> tuple[np.ndarray, list[int]]:
    """Embeddings around the mean of each speaker, who speak by turns."""
    rng = np.random.default_rng(5)
    means = rng.normal(size=(num_speakers, 32))
    speakers = [number % num_speakers for number in range(num_utterances)]
    return means[speakers] + noise * rng.normal(size=(num_utterances, 32)), speakers


def test_utterances_of_a_speaker_are_one_cluster() -> None:
    embeddings, speakers = voices(4, 30, noise=0.3)
    assert cluster_speakers(embeddings, threshold=0.6) == speakers


def test_the_length_of_an_embedding_does_not_matter() -> None:
    embeddings, speakers = voices(4, 30, noise=0.3)
    lengths = np.random.default_rng(1).uniform(0.1, 10, size=(30, 1))
    assert cluster_speakers(lengths * embeddings, threshold=0.6) == speakers


def test_the_threshold_is_a_cosine() -> None:
    angles = np.deg2rad([0, 10, 60])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    assert cluster_speakers(embeddings, threshold=0.99) == [0, 1, 2]
    assert cluster_speakers(embeddings, threshold=0.9) == [0, 0, 1]
    # The mean of cos 60 and cos 50 degrees is 0.571.
    assert cluster_speakers(embeddings, threshold=0.58) == [0, 0, 1]
    assert cluster_speakers(embeddings, threshold=0.56) == [0, 0, 0]


@pytest.mark.parametrize("num_utterances", [0, 1])
def test_few_utterances_are_no_special_case(num_utterances: int) -> None:
    embeddings = np.ones((num_utterances, 4))
    assert cluster_speakers(embeddings, threshold=0.5) == [0] * num_utterances
    cosines = cosines_to_speakers(embeddings, [0] * num_utterances)
    assert cosines == pytest.approx([1] * num_utterances)


def test_many_utterances_are_clustered_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, speakers = voices(5, 64, noise=0.3)
    monkeypatch.setattr(speaker_clusters, "MAX_NUM_TOGETHER", 20)
    assert cluster_speakers(embeddings, threshold=0.6) == speakers
    with pytest.raises(ValueError, match="64 utterances have 64 clusters in parts of 20"):
        cluster_speakers(embeddings, threshold=0.9999)


def test_a_cosine_says_how_near_an_utterance_is_to_its_speaker() -> None:
    embeddings = np.array([[1, 0], [0, 2], [0, 3.0]])
    cosines = cosines_to_speakers(embeddings, [0, 0, 1])
    assert cosines == pytest.approx([np.sqrt(0.5), np.sqrt(0.5), 1])


def test_silence_has_a_cluster() -> None:
    assert len(cluster_speakers(np.array([[0, 0], [0, 1.0], [0, 0]]), threshold=0.9)) == 3
