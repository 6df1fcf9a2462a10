import jiwer
import numpy as np
import pytest

from w2v2_mt.metrics.word_error_rate import (
    Edits,
    character_edits,
    error_rate,
    total,
    word_edits,
    word_error_rate,
)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("THE CAT SAT", "THE CAT SAT", 0),
        ("THE CAT SAT", "THE DOG SAT", 1 / 3),
        ("THE CAT SAT", "THE SAT", 1 / 3),
        ("THE CAT SAT", "THE BIG CAT SAT", 1 / 3),
        ("THE CAT SAT", "", 1),
        ("CAT", "A BIG FAT CAT", 3),
        ("CAT", "cat", 1),
    ],
)
def test_of_one_utterance(reference, hypothesis, rate):
    assert word_error_rate([reference], [hypothesis]) == pytest.approx(rate)


def test_errors_of_all_utterances_are_divided_by_all_words():
    # 1 error in 1 word and none in 9: 1 / 10, and not the mean of 1 and 0.
    assert word_error_rate(["A", "B C D E F G H I J"], ["X", "B C D E F G H I J"]) == 0.1


def test_words_for_an_empty_reference_are_added_words():
    assert word_error_rate(["", "A B"], ["X Y Z", "A B"]) == pytest.approx(3 / 2)


def test_any_white_space_separates_words():
    assert word_error_rate([" A\tB\n C  "], ["A B C"]) == 0


def test_words_do_not_move_between_utterances():
    assert word_error_rate(["A B", "C"], ["A", "B C"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("references", [[], [""], ["", "  \t"]])
def test_references_without_a_word_are_refused(references):
    with pytest.raises(ValueError, match=rf"no word in {len(references)} references?, but"):
        word_error_rate(references, ["X"] * len(references))


def test_different_counts_are_refused():
    with pytest.raises(ValueError, match="argument 2 is shorter than argument 1"):
        word_error_rate(["A", "B"], ["A"])


def edit_distance(reference, hypothesis):
    """The table of Wagner & Fischer, row by row."""
    row = list(range(len(hypothesis) + 1))
    for number, item in enumerate(reference, start=1):
        above, row = row, [number]
        for column, other in enumerate(hypothesis, start=1):
            row.append(min(above[column] + 1, row[-1] + 1, above[column - 1] + (item != other)))
    return row[-1]


@pytest.fixture(scope="module")
def edited_texts():
    """References of up to 12 short words, and the same after random edits of their letters."""
    generator = np.random.default_rng(0)
    references, hypotheses = [], []
    for _ in range(300):
        letters = generator.choice(list("AB "), size=generator.integers(0, 25))
        edited = []
        for letter in letters:
            action = generator.choice(["keep", "drop", "change", "add"], p=[0.7, 0.1, 0.1, 0.1])
            edited += {"keep": [letter], "drop": [], "change": ["C"], "add": [letter, "D"]}[action]
        references.append(" ".join("".join(letters).split()))
        hypotheses.append(" ".join("".join(edited).split()))
    return references, hypotheses


@pytest.mark.parametrize(
    ("edits_of", "parts_of"), [(word_edits, str.split), (character_edits, list)]
)
def test_random_edits_are_as_few_as_a_table_finds(edited_texts, edits_of, parts_of):
    for reference, hypothesis, edits in zip(*edited_texts, edits_of(*edited_texts), strict=True):
        parts, other_parts = parts_of(reference), parts_of(hypothesis)
        assert edits.num_errors == edit_distance(parts, other_parts)
        assert edits.insertions - edits.deletions == len(other_parts) - len(parts)
        assert edits.num_references == len(parts)


def test_random_edits_agree_with_jiwer(edited_texts):
    words, letters = jiwer.process_words(*edited_texts), jiwer.process_characters(*edited_texts)
    for edits, expected in (
        (total(word_edits(*edited_texts)), words),
        (total(character_edits(*edited_texts)), letters),
    ):
        assert edits.substitutions == expected.substitutions > 0
        assert edits.deletions == expected.deletions > 0
        assert edits.insertions == expected.insertions > 0
    assert word_error_rate(*edited_texts) == pytest.approx(words.wer)
    assert error_rate(character_edits(*edited_texts)) == pytest.approx(letters.cer)


def test_each_kind_of_edit_is_counted_for_each_utterance():
    edits = word_edits(["A B C D", "", "E"], ["A X D", "Y Z", "E"])
    assert edits == [
        Edits(substitutions=1, deletions=1, insertions=0, num_references=4),
        Edits(substitutions=0, deletions=0, insertions=2, num_references=0),
        Edits(substitutions=0, deletions=0, insertions=0, num_references=1),
    ]
    assert total(edits) == Edits(substitutions=1, deletions=1, insertions=2, num_references=5)
    assert error_rate(edits) == pytest.approx(4 / 5)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "rate"),
    [
        ("THE CAT", "THE CAT", 0),
        ("THE CAT", "THE BAT", 1 / 7),
        ("THE CAT", "THECAT", 1 / 7),
        ("THE  CAT ", "THE CATS", 1 / 7),
        ("CAT", "", 1),
    ],
)
def test_characters_of_one_utterance(reference, hypothesis, rate):
    assert error_rate(character_edits([reference], [hypothesis])) == pytest.approx(rate)
