import pytest

from w2v2_mt.core.constraints import Interval


@pytest.mark.parametrize(
    ("interval", "inside", "outside", "words"),
    [
        (Interval(at_least=1), [1, 2], [0, -1], "at least 1"),
        (Interval(above=0), [1e-9, 5], [0, -1], "above 0"),
        (Interval(above=0, below=1), [0.5], [0, 1, 2], "above 0 and below 1"),
        (Interval(above=0), [float("inf")], [], "above 0"),
        (Interval(at_most=2**32 - 1), [0], [2**32], "at most 4294967295"),
        (Interval(at_least=0, at_most=1), [0, 0.5, 1], [-0.1, 1.1], "at least 0 and at most 1"),
    ],
)
def test_an_interval_knows_its_members_and_says_its_bounds(interval, inside, outside, words):
    assert all(value in interval for value in inside)
    assert not any(value in interval for value in outside)
    assert str(interval) == words
    assert float("nan") not in interval
