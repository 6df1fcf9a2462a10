"""Word and character error rate of a set of transcriptions, and the edits behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True, kw_only=True)
class Edits:
    """The fewest changes that make a reference its hypothesis, in words or in characters."""

    substitutions: int
    deletions: int
    insertions: int
    num_references: int
    """How many words, or characters, the reference has."""

    @property
    def num_errors(self) -> int:
        return self.substitutions + self.deletions + self.insertions


def word_edits(references: Sequence[str], hypotheses: Sequence[str]) -> list[Edits]:
    """The edits of each utterance, in words, which are what white space separates.

    Case counts. A reference or a hypothesis may be empty.

    Raises ValueError when the counts differ.
    """
    _check_counts(references, hypotheses)
    if not references:
        return []
    return _edits(jiwer.process_words(_spaced(references), _spaced(hypotheses)))


def character_edits(references: Sequence[str], hypotheses: Sequence[str]) -> list[Edits]:
    """As `word_edits`, in characters; the one space between two words is a character, too."""
    _check_counts(references, hypotheses)
    if not references:
        return []
    return _edits(jiwer.process_characters(_spaced(references), _spaced(hypotheses)))


def total(edits: Sequence[Edits]) -> Edits:
    """The edits of all utterances together."""
    return Edits(
        substitutions=sum(edit.substitutions for edit in edits),
        deletions=sum(edit.deletions for edit in edits),
        insertions=sum(edit.insertions for edit in edits),
        num_references=sum(edit.num_references for edit in edits),
    )


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Substituted, missing and added words of all pairs, over the words of all references.

    A fraction, above 1 when many words are added.

    Raises ValueError when the counts differ or when no reference has a word.
    """
    return error_rate(word_edits(references, hypotheses))


def error_rate(edits: Sequence[Edits]) -> float:
    """The errors of all utterances over the words, or characters, of all their references.

    Raises ValueError when no reference has a word.
    """
    together = total(edits)
    if together.num_references == 0:
        raise ValueError(
            f"the {len(edits)} reference(s) hold no word, but the rate is a fraction of their "
            "words; pass at least one reference with a word."
        )
    return together.num_errors / together.num_references


def _check_counts(references: Sequence[str], hypotheses: Sequence[str]) -> None:
    if len(references) != len(hypotheses):
        raise ValueError(
            f"there are {len(references)} references and {len(hypotheses)} hypotheses, but every "
            "utterance has one of each; pass both in the same order."
        )


def _spaced(texts: Sequence[str]) -> list[str]:
    """One space between words and none around them: jiwer separates words at single spaces."""
    return [" ".join(text.split()) for text in texts]


def _edits(output: jiwer.WordOutput | jiwer.CharacterOutput) -> list[Edits]:
    edits = []
    for reference, alignment in zip(output.references, output.alignments, strict=True):
        lengths = {"substitute": 0, "delete": 0, "insert": 0, "equal": 0}
        for chunk in alignment:
            # An inserted chunk has no reference, a deleted one no hypothesis.
            lengths[chunk.type] += max(
                chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
            )
        edits.append(
            Edits(
                substitutions=lengths["substitute"],
                deletions=lengths["delete"],
                insertions=lengths["insert"],
                num_references=len(reference),
            )
        )
    return edits
