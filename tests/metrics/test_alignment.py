import numpy as np
import pytest

from w2v2_mt.metrics.word_error_rate import AlignedWords, align_words, word_edits


def test_each_kind_of_edit_is_reported_with_its_words():
    assert align_words("THE OLD CAT SAT ON IT", "THE CAT MAT ON TOP  OF IT") == [
        AlignedWords("equal", ("THE",), ("THE",)),
        AlignedWords("delete", ("OLD",), ()),
        AlignedWords("equal", ("CAT",), ("CAT",)),
        AlignedWords("substitute", ("SAT",), ("MAT",)),
        AlignedWords("equal", ("ON",), ("ON",)),
        AlignedWords("insert", (), ("TOP", "OF")),
        AlignedWords("equal", ("IT",), ("IT",)),
    ]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", []),
        ("A B", "", [("delete", ("A", "B"), ())]),
        ("", "A B", [("insert", (), ("A", "B"))]),
        ("A B", "C D", [("substitute", ("A", "B"), ("C", "D"))]),
        (" A \t B", "A B ", [("equal", ("A", "B"), ("A", "B"))]),
    ],
)
def test_of_texts_at_the_edge(reference, hypothesis, expected):
    assert align_words(reference, hypothesis) == expected


def test_the_runs_hold_all_words_in_order_and_as_many_edits_as_are_counted():
    generator = np.random.default_rng(0)
    for _ in range(200):
        reference, hypothesis = (
            " ".join(generator.choice(list("ABCD"), size=generator.integers(0, 9))) for _ in "rh"
        )
        runs = align_words(reference, hypothesis)
        assert [word for run in runs for word in run.reference] == reference.split()
        assert [word for run in runs for word in run.hypothesis] == hypothesis.split()
        (edits,) = word_edits([reference], [hypothesis])
        lengths = {
            kind: sum(
                max(len(run.reference), len(run.hypothesis)) for run in runs if run.kind == kind
            )
            for kind in ("substitute", "delete", "insert")
        }
        assert lengths == {
            "substitute": edits.substitutions,
            "delete": edits.deletions,
            "insert": edits.insertions,
        }
        assert all(run.reference == run.hypothesis for run in runs if run.kind == "equal")
