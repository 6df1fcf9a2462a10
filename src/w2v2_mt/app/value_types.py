"""Whether a value of a config is of an annotated type, and the words for both."""

import math
from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from w2v2_mt.app.sources import did_you_mean

_SCALARS = (int, float, bool, str)


class Node:
    """The type of a block that names with `_target_` what is made of it."""


_PHRASES: dict[Any, str] = {
    int: "an integer",
    float: "a number",
    bool: "true or false",
    str: "a string",
    NoneType: "null",
    object: "anything",
    Node: "a block with _target_",
}


def alternatives(expected: Any) -> tuple[Any, ...]:
    """The members of a union, else the type itself.

    An object stands for a class. Alone it is met by everything, beside a plain type by a Node.
    """
    if get_origin(expected) not in (Union, UnionType):
        return (expected,)
    members = get_args(expected)
    has_plain_type = any(
        member in _SCALARS or get_origin(member) in (Annotated, Literal) for member in members
    )
    return tuple(Node if has_plain_type and member is object else member for member in members)


def is_met(expected: Any, value: object) -> bool:
    """Whether a value that holds no others is of a type; a bool is no number, an int is a float."""
    if get_origin(expected) is Annotated:
        base, *intervals = get_args(expected)
        return is_met(base, value) and all(value in interval for interval in intervals)
    if _is_literal(expected):
        return any(type(value) is type(word) and value == word for word in get_args(expected))
    if expected is float:
        return type(value) is int or (type(value) is float and not math.isnan(value))
    return expected is object or (expected in (*_SCALARS, NoneType) and type(value) is expected)


def described(expected: Any) -> str:
    """A type in words, such as "an integer that is at least 1 or null"."""
    words = [phrase for member in alternatives(expected) for phrase in _phrases(member)]
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def shown(value: object) -> str:
    """A value as yaml has it; a block or a list in words."""
    if isinstance(value, dict):
        return f"a block with{'' if '_target_' in value else 'out'} _target_"
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return repr(value)


def advice(value: object, allowed: Sequence[Any]) -> str:
    """The end of a sentence that refuses a value: what was perhaps meant."""
    if isinstance(value, str):
        words = [
            word for expected in allowed if _is_literal(expected) for word in get_args(expected)
        ]
        question = did_you_mean(value, [word for word in words if isinstance(word, str)])
        if question:
            return f"; {question}"
    for reading in _readings(value):
        if any(is_met(expected, reading) for expected in allowed):
            return f"; write {shown(reading)}{' without quotes' * isinstance(value, str)}."
    return "."


def _is_literal(expected: Any) -> bool:
    return get_origin(expected) is Literal


def _phrases(expected: Any) -> list[str]:
    kind, arguments = get_origin(expected) or expected, get_args(expected)
    if kind in _PHRASES:
        return [_PHRASES[kind]]
    if kind is Literal:
        return [shown(word) for word in arguments]
    if kind is Annotated:
        return [f"{described(arguments[0])} that is {' and '.join(map(str, arguments[1:]))}"]
    if kind is dict:
        return [f"a block (each value {described(arguments[1])})" if arguments else "a block"]
    if kind is tuple and ... not in arguments and arguments:
        return [f"a list of {len(arguments)} items"]
    if kind in (list, tuple):
        return [f"a list (each item {described(arguments[0])})" if arguments else "a list"]
    return [f"a block with {', '.join(get_type_hints(kind))}"]


def _readings(value: object) -> Iterator[object]:
    """What a value would be with or without quotes, or without a decimal point."""
    if isinstance(value, float) and value.is_integer():
        yield int(value)
    if isinstance(value, str):
        yield {"true": True, "false": False, "null": None}.get(value.lower(), value)
        for number_type in (int, float):
            try:
                yield number_type(value)
            except ValueError:
                continue
    elif isinstance(value, (bool, int, float)):
        yield shown(value)
