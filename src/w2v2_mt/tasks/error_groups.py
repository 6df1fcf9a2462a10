"""Errors in parts of a set: of each speaker, and of utterances that are equally long."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.units import seconds_from_samples
from w2v2_mt.metrics.word_error_rate import Edits, character_edits, total, word_edits
from w2v2_mt.tasks.transcripts import Transcript, texts_of

UNITS = (("word", "wer"), ("character", "cer"))
"""What is counted, and how its rate is called."""

DURATION_EDGES_SEC = (0, 2, 5, 10, 15, 20, inf)
"""An utterance as long as an edge belongs to the span that begins there."""


@dataclass(frozen=True, kw_only=True)
class GroupErrors:
    """The edits of several utterances together."""

    num_utterances: int
    words: Edits
    characters: Edits


def errors_by_speaker(transcripts: Sequence[Transcript]) -> dict[str, GroupErrors]:
    """By speaker, ordered by name."""
    speakers = (speaker_of(transcript.key) for transcript in transcripts)
    return dict(sorted(_by_label(transcripts, speakers).items()))


def errors_by_duration(
    transcripts: Sequence[Transcript],
) -> dict[tuple[float, float], GroupErrors]:
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
    texts = texts_of(transcripts)
    edits = zip(word_edits(*texts), character_edits(*texts), strict=True)
    for label, of_utterance in zip(labels, edits, strict=True):
        groups[label].append(of_utterance)
    return {
        label: GroupErrors(
            num_utterances=len(of_group),
            words=total([words for words, _ in of_group]),
            characters=total([characters for _, characters in of_group]),
        )
        for label, of_group in groups.items()
    }
