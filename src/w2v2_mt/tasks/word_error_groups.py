"""Word errors of parts of a set: of each speaker, and of utterances that are equally long."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.metrics.word_error_rate import Edits, total, word_edits
from w2v2_mt.tasks.transcripts import Transcript, texts_of

DURATION_EDGES_SEC = (0, 2, 5, 10, 15, 20, inf)
"""An utterance as long as an edge belongs to the span that begins there."""


@dataclass(frozen=True, kw_only=True)
class WordErrors:
    """The edits of several utterances together."""

    num_utterances: int
    edits: Edits


def word_errors_by_speaker(transcripts: Sequence[Transcript]) -> dict[str, WordErrors]:
    """By speaker, ordered by name."""
    speakers = (speaker_of(transcript.key) for transcript in transcripts)
    return dict(sorted(_by_label(transcripts, speakers).items()))


def word_errors_by_duration(
    transcripts: Sequence[Transcript],
) -> dict[tuple[float, float], WordErrors]:
    """By the bounds in seconds of spans of DURATION_EDGES_SEC, without spans of no utterance.

    Transcripts that do not tell how long they are, are left out.
    """
    timed = [transcript for transcript in transcripts if transcript.num_samples is not None]
    spans = (_span(seconds_from_samples(transcript.num_samples or 0)) for transcript in timed)
    return dict(sorted(_by_label(timed, spans).items()))


def _span(duration_sec: float) -> tuple[float, float]:
    last = max(index for index, edge in enumerate(DURATION_EDGES_SEC) if edge <= duration_sec)
    return DURATION_EDGES_SEC[last], DURATION_EDGES_SEC[last + 1]


def _by_label(transcripts: Sequence[Transcript], labels: Iterable) -> dict:
    groups: dict = defaultdict(list)
    for label, edits in zip(labels, word_edits(*texts_of(transcripts)), strict=True):
        groups[label].append(edits)
    return {
        label: WordErrors(num_utterances=len(edits), edits=total(edits))
        for label, edits in groups.items()
    }
