import pytest

from w2v2_mt.metrics.word_error_rate import word_error_rate


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
    with pytest.raises(ValueError, match=rf"the {len(references)} reference\(s\) hold no word"):
        word_error_rate(references, ["X"] * len(references))


def test_different_counts_are_refused():
    with pytest.raises(ValueError, match="2 references and 1 hypotheses"):
        word_error_rate(["A", "B"], ["A"])
