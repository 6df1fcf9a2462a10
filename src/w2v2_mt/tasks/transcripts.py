"""Transcripts of an evaluation set: which of them to look at, and their errors in groups."""

import random
from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import inf

from w2v2_mt.core.samples import speaker_of
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.metrics.word_error_rate import character_edits, total, word_edits

UNITS = (("word", "wer"), ("character", "cer"))
"""Counted units, with the name of their error rate."""

DURATION_EDGES_SEC = (0, 2, 5, 10, 15, 20, inf)
"""Bounds of the spans of `group_by_duration`, each with its lower bound."""

Groups = dict[tuple, list["Transcript"]]
"""Transcripts by the speaker, or by the bounds of the duration."""


@dataclass(frozen=True)
class Transcript:
    """The reference of an utterance and its recognized text.

    `num_samples` is the length at 16 kHz, None where a file does not store it. `speaker_id` is the
    speaker whom the metadata names; None: the speaker is that of the key.
    """

    key: str
    reference: str
    hypothesis: str
    num_samples: int | None = None
    speaker_id: str | None = None

    @property
    def speaker(self) -> str:
        """Return the speaker of the utterance."""
        return speaker_of(self.key) if self.speaker_id is None else self.speaker_id


def texts_of(transcripts: Sequence[Transcript]) -> tuple[list[str], list[str]]:
    """Return references and hypotheses, in the same order."""
    return [row.reference for row in transcripts], [row.hypothesis for row in transcripts]


def worst(transcripts: Sequence[Transcript], num: int) -> list[Transcript]:
    """Return the `num` transcripts with the most word errors, or all if there are fewer.

    Of equally many errors, the shorter reference comes first.
    """
    edits = word_edits(*texts_of(transcripts))
    ranked = sorted(
        zip(transcripts, edits, strict=True),
        key=lambda pair: (-pair[1].num_errors, pair[1].num_references, pair[0].key),
    )
    return [transcript for transcript, _ in ranked[:num]]


def random_sample(transcripts: Sequence[Transcript], num: int, seed: int) -> list[Transcript]:
    """Return `num` different transcripts in the order of their keys, or all if there are fewer.

    Keys and seed decide, not the order of `transcripts`: two runs show the same utterances.
    """
    by_key = sorted(transcripts, key=lambda transcript: transcript.key)
    chosen = random.Random(seed).sample(range(len(by_key)), min(num, len(by_key)))
    return [by_key[index] for index in sorted(chosen)]


def group_by_speaker(transcripts: Iterable[Transcript]) -> Groups:
    """Group transcripts by their speaker, ordered by name."""
    return _group(transcripts, lambda transcript: (transcript.speaker,))


def group_by_duration(transcripts: Iterable[Transcript]) -> Groups:
    """Group transcripts of similar length by the bounds of their span in seconds.

    Spans without an utterance, and transcripts without a length, are skipped.
    """
    spans = list(pairwise(DURATION_EDGES_SEC))

    def find_span(transcript: Transcript) -> tuple[float, float]:
        duration_sec = seconds_from_samples(transcript.num_samples or 0)
        return spans[bisect(DURATION_EDGES_SEC, duration_sec) - 1]

    timed = [transcript for transcript in transcripts if transcript.num_samples is not None]
    return _group(timed, find_span)


def _group(transcripts: Iterable[Transcript], label_of: Callable[[Transcript], tuple]) -> Groups:
    groups = defaultdict(list)
    for transcript in transcripts:
        groups[label_of(transcript)].append(transcript)
    return {label: groups[label] for label in sorted(groups)}


def transcript_files(set_name: str, transcripts: Sequence[Transcript]) -> dict[str, list[str]]:
    """Return the lines of the files of a test about one set, by the file's name."""
    rows = [f"{row.key}\t{row.reference}\t{row.hypothesis}" for row in transcripts]
    edges = ("duration_from_sec", "duration_to_sec")
    speakers = {row.key: row.speaker for row in transcripts}
    return {
        **speaker_file(f"speakers_{set_name}.tsv", speakers),
        f"transcripts_{set_name}.tsv": ["key\treference\thypothesis", *rows],
        f"errors_by_speaker_{set_name}.tsv": _error_lines(
            ("speaker",), group_by_speaker(transcripts)
        ),
        f"errors_by_duration_{set_name}.tsv": _error_lines(edges, group_by_duration(transcripts)),
    }


def speaker_file(name: str, speakers: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the lines of a file of the speaker of each utterance; none if the keys name them."""
    if all(speaker == speaker_of(key) for key, speaker in speakers.items()):
        return {}
    return {name: ["key\tspeaker", *("\t".join(row) for row in sorted(speakers.items()))]}


def _error_lines(label_columns: Iterable[str], groups: Groups) -> list[str]:
    """Return a line per group; the error rates of a group without reference words are empty."""
    columns = [*label_columns, "num_utterances"]
    for unit, rate in UNITS:
        kinds = (f"{unit}_{kind}" for kind in ("substitutions", "deletions", "insertions"))
        columns += [f"num_{unit}s", *kinds, rate]
    lines = ["\t".join(columns)]
    for label, group in groups.items():
        cells = [*label, len(group)]
        for count_edits in (word_edits, character_edits):
            edits = total(count_edits(*texts_of(group)))
            num_words = edits.num_references
            cells += [num_words, edits.substitutions, edits.deletions, edits.insertions]
            cells.append(f"{edits.num_errors / num_words:.6f}" if num_words else "")
        lines.append("\t".join(map(str, cells)))
    return lines
