"""Transcripts on a page, with what was recognised wrongly marked in the words of the reference."""

import html
from collections.abc import Sequence

from w2v2_mt.metrics.alignment import word_alignment
from w2v2_mt.tasks.transcripts import Transcript

LEGEND = (
    "<p class='note'>Said, but not recognised: <del>struck out</del>; recognised, but not said: "
    "<ins>underlined</ins>; one word taken for another: <del>said</del> <ins>recognised</ins>.</p>"
)


def transcripts_html(transcripts: Sequence[Transcript]) -> str:
    """One block for each."""
    return "".join(map(_block, transcripts))


def _block(transcript: Transcript) -> str:
    words, num_errors = [], 0
    for run in word_alignment(transcript.reference, transcript.hypothesis):
        if run.kind == "equal":
            words.append(html.escape(" ".join(run.reference)))
            continue
        num_errors += max(len(run.reference), len(run.hypothesis))
        if run.kind == "substitute":
            pairs = zip(run.reference, run.hypothesis, strict=True)
            words += [f"{_marked('del', said)} {_marked('ins', heard)}" for said, heard in pairs]
        else:
            words += [_marked("del", word) for word in run.reference]
            words += [_marked("ins", word) for word in run.hypothesis]
    num_words = len(transcript.reference.split())
    return (
        f"<div class='utterance'><p class='note'>{html.escape(transcript.key)}: {num_errors} "
        f"error(s), {num_words} word(s) said</p><p>{' '.join(words)}</p></div>"
    )


def _marked(tag: str, word: str) -> str:
    return f"<{tag}>{html.escape(word)}</{tag}>"
