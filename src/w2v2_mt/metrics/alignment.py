"""The words of a reference and of its hypothesis side by side."""

from typing import NamedTuple

import jiwer


class AlignedWords(NamedTuple):
    """A run of neighbouring words that are right, or wrong in the same way."""

    kind: str
    """`equal`, `substitute`, `delete` or `insert`."""
    reference: tuple[str, ...]
    """Of the reference; none where words were inserted."""
    hypothesis: tuple[str, ...]
    """Of the hypothesis; none where words were deleted."""


def word_alignment(reference: str, hypothesis: str) -> list[AlignedWords]:
    """How the reference becomes the hypothesis with the fewest edits, from left to right.

    The references of all runs, one after the other, are the words of the reference, likewise the
    hypotheses. A run of substitutions has as many words on both sides, in pairs. Either text may be
    empty.
    """
    output = jiwer.process_words(" ".join(reference.split()), " ".join(hypothesis.split()))
    reference_words, hypothesis_words = output.references[0], output.hypotheses[0]
    return [
        AlignedWords(
            kind=run.type,
            reference=tuple(reference_words[run.ref_start_idx : run.ref_end_idx]),
            hypothesis=tuple(hypothesis_words[run.hyp_start_idx : run.hyp_end_idx]),
        )
        for run in output.alignments[0]
    ]
