import math
from typing import Annotated, Literal

import pytest

from w2v2_mt.app.value_types import Node, advice, alternatives, described, is_met
from w2v2_mt.core.constraints import Interval, NonNegativeInt, PositiveFloat, Probability


@pytest.mark.parametrize(
    ("expected", "met", "not_met"),
    [
        (int, [0, -3, 10**12], [True, 1.0, "1", None]),
        (float, [1, 1.5, -math.inf], [True, math.nan, "1.5", None]),
        (bool, [True, False], [0, 1, "true", None]),
        (str, ["", "a"], [1, True, None]),
        (type(None), [None], [0, "null", False]),
        (object, [0, "a", None, 1.5, True], []),
        (Literal["a", 1], ["a", 1], ["b", 1.0, True, None]),
        (NonNegativeInt, [0, 7], [-1, 1.0, True]),
        (PositiveFloat, [1, 1e-9], [0, 0.0, -1.0, math.nan, True]),
        (Probability, [0, 1, 0.5], [-0.1, 1.1, math.nan]),
        (Annotated[int, Interval(at_least=2), Interval(at_most=3)], [2, 3], [1, 4]),
    ],
)
def test_values_are_of_a_type_or_not(expected, met, not_met):
    assert [value for value in met if not is_met(expected, value)] == []
    assert [value for value in not_met if is_met(expected, value)] == []


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (int, "an integer"),
        (float | None, "a number or null"),
        (bool, "true or false"),
        (Probability | None, "a number that is at least 0 and at most 1 or null"),
        (Literal["a", "b"] | None, "'a', 'b' or null"),
        (Literal[True, 2], "true or 2"),
        (str | list[str] | None, "a string, a list (each item a string) or null"),
        (list[int | None], "a list (each item an integer or null)"),
        (list, "a list"),
        (tuple[float, float], "a list of 2 items"),
        (tuple[float, ...], "a list (each item a number)"),
        (dict[str, float], "a block (each value a number)"),
        (dict, "a block"),
        (object, "anything"),
        (Node, "a block with _target_"),
    ],
)
def test_types_are_put_in_words(expected, words):
    assert described(expected) == words


def test_a_class_beside_plain_types_is_only_met_by_a_node():
    assert alternatives(float | object) == (float, Node)
    assert alternatives(object | None) == (object, type(None))


@pytest.mark.parametrize(
    ("value", "expected", "ending"),
    [
        (1e5, int, "; write 100000."),
        (1e5, Annotated[int, Interval(at_most=10)], "."),
        (1.5, int, "."),
        ("12", int | None, "; write 12 without quotes."),
        ("1e-3", float, "; write 0.001 without quotes."),
        ("False", bool, "; write false without quotes."),
        ("null", int | None, "; write null without quotes."),
        ("nan", float, "."),
        (2024, str, "; write '2024'."),
        ("meen", Literal["mean", "max"] | None, "; did you mean 'mean'?"),
        ("sum", Literal["mean", "max"], "."),
    ],
)
def test_advice_says_what_was_perhaps_meant(value, expected, ending):
    assert advice(value, alternatives(expected)) == ending
