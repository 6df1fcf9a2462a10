"""Transcripts of an evaluation set, and which of them to look at."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from w2v2_mt.metrics.word_error_rate import word_edits


@dataclass(frozen=True, kw_only=True)
class Transcript:
    """What was said in an utterance and what was recognised."""

    key: str
    reference: str
    hypothesis: str
    num_samples: int | None = None
    """How long the utterance is; None where a file of transcripts does not say."""


def texts_of(transcripts: Sequence[Transcript]) -> tuple[list[str], list[str]]:
    """References and hypotheses, in the same order."""
    return [row.reference for row in transcripts], [row.hypothesis for row in transcripts]


def worst(transcripts: Sequence[Transcript], num: int) -> list[Transcript]:
    """The `num` transcripts with the most word errors, which the rate of the set owes most to.

    Of equally many errors, the shorter reference comes first. All where there are fewer.
    """
    edits = word_edits(*texts_of(transcripts))
    ranked = sorted(
        zip(transcripts, edits, strict=True),
        key=lambda pair: (-pair[1].num_errors, pair[1].num_references, pair[0].key),
    )
    return [transcript for transcript, _ in ranked[:num]]


def random_sample(transcripts: Sequence[Transcript], num: int, seed: int) -> list[Transcript]:
    """`num` different transcripts in the order of their keys; all where there are fewer.

    Keys and seed decide, not the order of `transcripts`: two runs show the same utterances.
    """
    by_key = sorted(transcripts, key=lambda transcript: transcript.key)
    chosen = random.Random(seed).sample(range(len(by_key)), min(num, len(by_key)))
    return [by_key[index] for index in sorted(chosen)]
