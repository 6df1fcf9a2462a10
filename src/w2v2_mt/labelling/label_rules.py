"""The rules that decide the labels of utterances."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from w2v2_mt.core.console import plain_console
from w2v2_mt.core.units import count
from w2v2_mt.inference.predictor import Predictor
from w2v2_mt.inference.trained_network import TrainedNetwork
from w2v2_mt.labelling.network_labels import NetworkLabeller, NetworkLabels
from w2v2_mt.labelling.options import LabelOptions
from w2v2_mt.labelling.other_transcripts import OtherTranscript
from w2v2_mt.labelling.speaker_clusters import cluster_speakers, cosines_to_speakers
from w2v2_mt.labelling.utterances import LabelSource, SourceUtterance

_THRESHOLD_METRIC = "val_eer_threshold"


@dataclass(kw_only=True)
class LabelRules:
    """The rules that decide the labels of utterances, and the counts of what they did.

    Args:
        others: The transcripts of another system by key, or None without one.
    """

    options: LabelOptions
    trained: TrainedNetwork
    others: Mapping[str, OtherTranscript] | None
    counts: Counter[str] = field(default_factory=Counter)

    def needs_text(self, utterance: SourceUtterance) -> bool:
        """Return True if the utterance shall have another transcript than its own."""
        return utterance.text is None or self.options.relabel

    def needs_speaker(self, utterance: SourceUtterance) -> bool:
        """Return True if the speaker of the utterance is found by clustering."""
        is_missing = utterance.speaker is None or self.options.relabel
        return is_missing and "speaker" in self.trained.tasks

    def needs_network(self, utterance: SourceUtterance) -> bool:
        """Return True if the network shall label the utterance."""
        asks_for_text = self.others is None and "speech" in self.trained.tasks
        return (asks_for_text and self.needs_text(utterance)) or self.needs_speaker(utterance)

    def check(self, source: LabelSource) -> int:
        """Return the number of utterances; raise ValueError if there is nothing to label."""
        num_utterances = num_needed = num_joined = 0
        needs_threshold = False
        for utterance in source.utterances():
            num_utterances += 1
            is_joined = utterance.key in (self.others or {}) and self.needs_text(utterance)
            num_joined += is_joined
            num_needed += is_joined or self.needs_network(utterance)
            needs_threshold = needs_threshold or self.needs_speaker(utterance)
        heads = " and ".join(self.trained.tasks)
        if num_needed == 0:
            raise ValueError(
                f"There is nothing to label for a network with a head for {heads}: all "
                f"{num_utterances} utterances of {self.options.source} have such labels. Pass "
                "--relabel to replace them."
            )
        if self.others and num_joined == 0:
            raise ValueError(
                f"No key of {self.options.transcripts}, such as {next(iter(self.others))!r}, is "
                f"that of an utterance without a text in {self.options.source}."
            )
        if needs_threshold and self._threshold is None:
            raise ValueError(
                "The checkpoint does not store the threshold of its validation trials. Give "
                "--speaker_threshold."
            )
        return num_utterances

    def ask_network(
        self, source: LabelSource, *, work: Path, num_utterances: int
    ) -> tuple[NetworkLabeller, dict[str, NetworkLabels]]:
        """Return the answers of the network to the utterances that can be used."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        predictor = Predictor(
            self.trained, device=device, precision="32-true", **self.options.windows
        )
        console = plain_console(stderr=True)

        def skip(reason: str) -> None:
            console.print(f"skipped: {reason}", highlight=False, soft_wrap=True)

        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("utterances", total=num_utterances)
            labeller = NetworkLabeller(
                predictor,
                work=work,
                needs_network=self.needs_network,
                on_refusal=skip,
                on_progress=lambda amount: progress.advance(task, amount),
            )
            labels = labeller.label(source.utterances())
        self.counts["cannot be read"] = num_utterances - len(labels)
        return labeller, labels

    def rows(
        self,
        source: LabelSource,
        labels: Mapping[str, NetworkLabels],
        labeller: NetworkLabeller,
    ) -> Iterator[dict[str, Any]]:
        """Yield the lines of the manifest, and copy the audio that they need."""
        speakers = self._find_speakers(source, labels, labeller)
        for utterance in source.utterances():
            found = labels.get(utterance.key)
            if found is None or not self._has_length(found):
                self.counts["too short or too long"] += found is not None
                continue
            row: dict[str, Any] = dict(utterance.columns)
            row |= self._text(utterance, found) | self._speaker(utterance, speakers)
            if "text" not in row and "speaker" not in row:
                self.counts["without any label"] += 1
                continue
            self.counts["utterances"] += 1
            yield {"path": utterance.place(self.options.output.parent), **row}

    def summary(self) -> str:
        """Return what was done, in sentences."""
        written = count(self.counts.pop("utterances", 0), "utterance")
        done = {name: number for name, number in self.counts.items() if number}
        details = ", ".join(f"{number} {name}" for name, number in done.items())
        return f"{self.options.output} has {written}" + (f"; {details}." if details else ".")

    @property
    def _threshold(self) -> float | None:
        chosen = self.options.speaker_threshold
        return self.trained.metrics.get(_THRESHOLD_METRIC) if chosen is None else chosen

    def _has_length(self, found: NetworkLabels) -> bool:
        return self.options.min_sec <= found.duration_sec <= self.options.max_sec

    def _text(self, utterance: SourceUtterance, found: NetworkLabels) -> dict[str, Any]:
        """Return the columns of the transcript, none if its confidence is too low."""
        own = {} if utterance.text is None else {"text": utterance.text}
        if not self.needs_text(utterance):
            return own
        text, confidence = found.text, found.confidence
        if self.others is not None:
            other = self.others.get(utterance.key)
            text, confidence = (other.text, other.confidence) if other else (None, None)
        if text is None:
            return own
        if not text.strip() or (
            confidence is not None and confidence < self.options.min_confidence
        ):
            self.counts["empty or uncertain transcripts"] += 1
            return {}
        self.counts["new transcripts"] += 1
        return {"text": text} | ({} if confidence is None else {"confidence": confidence})

    def _speaker(
        self, utterance: SourceUtterance, speakers: Mapping[str, tuple[str, float]]
    ) -> dict[str, Any]:
        if utterance.key in speakers:
            name, cosine = speakers[utterance.key]
            return {"speaker": name, "speaker_cosine": round(cosine, 4)}
        return {} if utterance.speaker is None else {"speaker": utterance.speaker}

    def _find_speakers(
        self,
        source: LabelSource,
        labels: Mapping[str, NetworkLabels],
        labeller: NetworkLabeller,
    ) -> dict[str, tuple[str, float]]:
        """Return the name of the cluster and the cosine to it, by key."""
        groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for utterance in source.utterances():
            found = labels.get(utterance.key)
            if found is None or found.embedding_index is None or not self._has_length(found):
                continue
            if self.needs_speaker(utterance):
                group = f"{utterance.session}-" if self.options.within_sessions else ""
                groups[group].append((utterance.key, found.embedding_index))
        speakers: dict[str, tuple[str, float]] = {}
        for group, members in groups.items():
            assert self._threshold is not None
            keys, indices = zip(*members, strict=True)
            embeddings = labeller.embeddings(indices)
            clusters = cluster_speakers(embeddings, threshold=self._threshold)
            cosines = cosines_to_speakers(embeddings, clusters)
            names = [f"{group}cluster-{number:05d}" for number in clusters]
            speakers |= dict(zip(keys, zip(names, cosines, strict=True), strict=True))
            self.counts["new speakers"] += max(clusters) + 1
        return speakers
