"""Word and character error rates, the edits that they count, and the alignment of words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import jiwer

from w2v2_mt.core.units import count


@dataclass(frozen=True, kw_only=True)
class Edits:
    """The fewest edits that turn a reference into its hypothesis, in words or characters.

    Args:
        num_references: Words of the reference.
    """

    substitutions: int
    deletions: int
    insertions: int
    num_references: int

    @property
    def num_errors(self) -> int:
        """The sum of all edits."""
        return self.substitutions + self.deletions + self.insertions


class AlignedWords(NamedTuple):
    """A run of neighboring words that are correct, or wrong in the same way.

    Args:
        kind: `equal`, `substitute`, `delete` or `insert`.
        reference: Words of the reference; none if words were inserted.
        hypothesis: Words of the hypothesis; none if words were deleted.
    """

    kind: str
    reference: tuple[str, ...]
    hypothesis: tuple[str, ...]


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> list[Edits]:
    """Count the edits of each utterance in words, which white space separates.

    Case matters. A reference or a hypothesis may be empty.
    """
    return _count_edits(jiwer.process_words, references, hypotheses)


def character_edits(references: Sequence[str], hypotheses: Sequence[str]) -> list[Edits]:
    """Count the edits of each utterance in characters, including one space between two words."""
    return _count_edits(jiwer.process_characters, references, hypotheses)


def _count_edits(
    process: Callable[[str, str], jiwer.WordOutput | jiwer.CharacterOutput],
    references: Sequence[str],
    hypotheses: Sequence[str],
) -> list[Edits]:
    outputs = [
        process(_space(reference), _space(hypothesis))
        for reference, hypothesis in zip(references, hypotheses, strict=True)
    ]
    return [
        Edits(
            substitutions=output.substitutions,
            deletions=output.deletions,
            insertions=output.insertions,
            num_references=len(output.references[0]),
        )
        for output in outputs
    ]


def _space(text: str) -> str:
    """Leave one space between words and none around them, as jiwer expects."""
    return " ".join(text.split())


def total(edits: Sequence[Edits]) -> Edits:
    """Add up the edits of all utterances."""
    names = [field.name for field in fields(Edits)]
    return Edits(**{name: sum(getattr(edit, name) for edit in edits) for name in names})


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Return the word error rate of a set, as a fraction that insertions may raise above 1."""
    return error_rate(word_edits(references, hypotheses))


def error_rate(edits: Sequence[Edits]) -> float:
    """Return the errors of all utterances over the words (or characters) of all references.

    Raises:
        ValueError: No reference has a word.
    """
    together = total(edits)
    if together.num_references == 0:
        raise ValueError(
            f"there is no word in {count(len(edits), 'reference')}, but the rate is a fraction of "
            "their words; pass at least one reference with a word."
        )
    return together.num_errors / together.num_references


def align_words(reference: str, hypothesis: str) -> list[AlignedWords]:
    """Align two texts with the fewest edits, from left to right.

    The references of all runs, one after the other, are the words of the reference, likewise the
    hypotheses. A run of substitutions has as many words on both sides, in pairs.
    """
    output = jiwer.process_words(_space(reference), _space(hypothesis))
    return [
        AlignedWords(
            kind=run.type,
            reference=tuple(output.references[0][run.ref_start_idx : run.ref_end_idx]),
            hypothesis=tuple(output.hypotheses[0][run.hyp_start_idx : run.hyp_end_idx]),
        )
        for run in output.alignments[0]
    ]
