"""The answers of a network to utterances, transcripts and embeddings, kept in blocks."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Float

from w2v2_mt.core.atomic_output import atomic_replacement, replace_text
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.inference.predictor import LoadedAudio, Predictor
from w2v2_mt.labelling.utterances import SourceUtterance

BLOCK_SIZE = 100
"""The number of utterances after which the results so far are on the disk.

Batches never cross a block, so that a call that resumes computes the same numbers.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkLabels:
    """The answer of a network to an utterance; None where it was not asked or has no such head.

    Args:
        text: The greedy transcript.
        confidence: The confidence of the transcript, as of `greedy_confidence`.
        embedding_index: The number of the embedding of the utterance among all embeddings.
    """

    duration_sec: float
    text: str | None = None
    confidence: float | None = None
    embedding_index: int | None = None


@dataclass(frozen=True, kw_only=True)
class BlockFiles:
    """The files of a block in a work folder; that of the labels marks it as finished."""

    labels: Path
    embeddings: Path

    @classmethod
    def of_number(cls, work: Path, number: int) -> "BlockFiles":
        """Return the files of the block with a number."""
        stem = work / f"block-{number:06d}"
        return cls(labels=stem.with_suffix(".json"), embeddings=stem.with_suffix(".npy"))


class NetworkLabeller:
    """A network that labels utterances block by block, and resumes after a finished block.

    Args:
        work: The folder of the blocks.
        needs_network: Returns False for an utterance of which only the duration is asked.
        on_refusal: Receives a sentence for each utterance that cannot be labelled.
        on_progress: Receives the number of utterances that were completed, or a part of one.
    """

    def __init__(
        self,
        predictor: Predictor,
        *,
        work: Path,
        needs_network: Callable[[SourceUtterance], bool],
        on_refusal: Callable[[str], None],
        on_progress: Callable[[float], None],
    ) -> None:
        self._predictor = predictor
        self._work = work
        self._needs_network = needs_network
        self._on_refusal = on_refusal
        self._on_progress = on_progress
        self._embeddings: list[Path] = []

    def label(self, utterances: Iterable[SourceUtterance]) -> dict[str, NetworkLabels]:
        """Return the labels by key, without the utterances that cannot be labelled."""
        labels: dict[str, NetworkLabels] = {}
        num_embeddings = 0
        for number, block in enumerate(_blocks(utterances)):
            files = BlockFiles.of_number(self._work, number)
            if files.labels.is_file():
                self._on_progress(len(block))
            else:
                self._label_block(block, files)
            for key, values in json.loads(files.labels.read_text(encoding="utf-8")).items():
                has_embedding = values.pop("has_embedding")
                index = num_embeddings if has_embedding else None
                num_embeddings += has_embedding
                labels[key] = NetworkLabels(**values, embedding_index=index)
            self._embeddings.append(files.embeddings)
        return labels

    def embeddings(self, indices: Sequence[int]) -> Float[np.ndarray, "utterances dim"]:
        """Return the embeddings with these numbers."""
        return self._all_embeddings[list(indices)]

    @cached_property
    def _all_embeddings(self) -> Float[np.ndarray, "utterances dim"]:
        parts = [np.load(path) for path in self._embeddings if path.is_file()]
        return np.concatenate(parts) if parts else np.zeros((0, 1), dtype=np.float32)

    def _label_block(self, block: Sequence[SourceUtterance], files: BlockFiles) -> None:
        labels: dict[str, dict[str, object]] = {}
        embeddings = []
        sources = (
            LoadedAudio(Path(each.key), each.load) for each in block if self._needs_network(each)
        )
        predictions = {
            prediction.audio.path: prediction
            for prediction in self._predictor.predict(
                sources, on_refusal=self._on_refusal, on_progress=self._on_progress
            )
        }
        for utterance in block:
            if not self._needs_network(utterance):
                self._measure(utterance, labels)
                continue
            prediction = predictions.get(Path(utterance.key))
            if prediction is None:
                continue
            labels[utterance.key] = {
                "duration_sec": prediction.audio.duration_sec,
                "text": prediction.transcript,
                "confidence": prediction.confidence and round(prediction.confidence, 4),
                "has_embedding": prediction.embedding is not None,
            }
            if prediction.embedding is not None:
                embeddings.append(prediction.embedding.numpy())
        if embeddings:
            with atomic_replacement(files.embeddings) as part, part.open("wb") as file:
                np.save(file, np.stack(embeddings))
        replace_text(files.labels, json.dumps(labels))

    def _measure(self, utterance: SourceUtterance, labels: dict[str, dict[str, object]]) -> None:
        try:
            duration_sec = seconds_from_samples(len(utterance.load()))
            labels[utterance.key] = {"duration_sec": duration_sec, "has_embedding": False}
        except ValueError as error:
            self._on_refusal(str(error))
        self._on_progress(1)


def _blocks(utterances: Iterable[SourceUtterance]) -> Iterator[list[SourceUtterance]]:
    remaining = iter(utterances)
    while block := list(islice(remaining, BLOCK_SIZE)):
        yield block
