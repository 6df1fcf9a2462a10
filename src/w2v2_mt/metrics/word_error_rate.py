"""Word error rate of a set of transcriptions."""

from collections.abc import Sequence

import jiwer


def word_error_rate(references: Sequence[str], hypotheses: Sequence[str]) -> float:
    """Substituted, missing and added words of all pairs, over the words of all references.

    A fraction, above 1 when many words are added. Words are what white space separates; case
    counts. A reference or a hypothesis may be empty.

    Raises ValueError when the counts differ or when no reference has a word.
    """
    if len(references) != len(hypotheses):
        raise ValueError(
            f"there are {len(references)} references and {len(hypotheses)} hypotheses, but every "
            "utterance has one of each; pass both in the same order."
        )
    num_reference_words = sum(len(reference.split()) for reference in references)
    if num_reference_words == 0:
        raise ValueError(
            f"the {len(references)} reference(s) hold no word, but the rate is a fraction of their "
            "words; pass at least one reference with a word."
        )
    # jiwer separates words at single spaces only.
    counts = jiwer.process_words(
        [" ".join(reference.split()) for reference in references],
        [" ".join(hypothesis.split()) for hypothesis in hypotheses],
    )
    return (counts.substitutions + counts.deletions + counts.insertions) / num_reference_words
