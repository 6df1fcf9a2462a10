"""Speakers of utterances without names, by clustering of their embeddings."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.cluster import AgglomerativeClustering

MAX_NUM_TOGETHER = 5000
"""The most embeddings that are clustered at once: their distances take 100 MB."""


def cluster_speakers(
    embeddings: Float[np.ndarray, "utterances dim"], *, threshold: float
) -> list[int]:
    """Return the number of the cluster of each embedding, from 0 in the order of first utterances.

    Agglomerative clustering with average linkage: the two clusters with the largest mean cosine
    between their embeddings are joined, while it is above the threshold.

    More than `MAX_NUM_TOGETHER` embeddings are clustered in parts of this size, in their order, and
    then the mean directions of the clusters of all parts.

    Raises:
        ValueError: The parts have more than `MAX_NUM_TOGETHER` clusters.

    Source: Day and Edelsbrunner, Efficient algorithms for agglomerative hierarchical clustering
    methods, Journal of Classification 1 (1984), as in scikit-learn.
    """
    directions = _normalise(embeddings)
    parts = range(0, len(directions), MAX_NUM_TOGETHER)
    clusters: list[int] = []
    for start in parts:
        part = _cluster(directions[start : start + MAX_NUM_TOGETHER], threshold)
        first_number = max(clusters, default=-1) + 1
        clusters += [first_number + number for number in part]
    if len(parts) < 2:
        return clusters
    num_clusters = max(clusters) + 1
    if num_clusters > MAX_NUM_TOGETHER:
        raise ValueError(
            f"{len(directions)} utterances have {num_clusters} clusters in parts of "
            f"{MAX_NUM_TOGETHER}, which must be at most {MAX_NUM_TOGETHER}. Lower "
            "--speaker_threshold, or cluster within sessions."
        )
    summed = np.zeros((num_clusters, directions.shape[1]))
    np.add.at(summed, clusters, directions)
    joined = _cluster(_normalise(summed), threshold)
    return _number_by_first([joined[number] for number in clusters])


def cosines_to_speakers(
    embeddings: Float[np.ndarray, "utterances dim"], clusters: Sequence[int]
) -> list[float]:
    """Return the cosine of each embedding with the mean direction of its cluster."""
    directions = _normalise(embeddings)
    summed = np.zeros((max(clusters, default=-1) + 1, directions.shape[1]))
    np.add.at(summed, list(clusters), directions)
    return np.einsum("ij,ij->i", directions, _normalise(summed)[list(clusters)]).tolist()


def _cluster(directions: np.ndarray, threshold: float) -> list[int]:
    if len(directions) < 2:
        return [0] * len(directions)
    clustering = AgglomerativeClustering(
        n_clusters=None, metric="cosine", linkage="average", distance_threshold=1 - threshold
    )
    return _number_by_first(clustering.fit_predict(directions).tolist())


def _number_by_first(labels: Sequence[int]) -> list[int]:
    """Return numbers in the order in which the labels first occur."""
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return [numbers[label] for label in labels]


def _normalise(vectors: np.ndarray) -> np.ndarray:
    vectors = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    # Only an utterance without a direction, such as of digital silence, has a norm of 0.
    return np.where(norms > 0, vectors, 1) / np.where(norms > 0, norms, np.sqrt(vectors.shape[1]))
