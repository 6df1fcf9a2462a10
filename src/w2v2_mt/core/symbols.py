"""Comparison of the classes of two heads, whose names must have the same order."""

from collections.abc import Sequence

_MAX_NUM_NAMED = 5


def describe_difference(
    theirs: Sequence[str], ours: Sequence[str], *, noun: str = "token"
) -> str | None:
    """Return how two lists of names differ, or None if they are equal in order too.

    The text completes a sentence: "it " + text. `noun` is what has these names.
    """
    if list(theirs) == list(ours):
        return None
    parts = []
    for verb, more, fewer in (("lacks", ours, theirs), ("has in addition", theirs, ours)):
        known = set(fewer)
        if names := [name for name in more if name not in known]:
            shown = ", ".join(map(repr, names[:_MAX_NUM_NAMED]))
            rest = len(names) - _MAX_NUM_NAMED
            parts.append(f"{verb} {shown}" + (f" and {rest} more" if rest > 0 else ""))
    if parts:
        return " and ".join(parts)
    index = next(
        index for index, pair in enumerate(zip(theirs, ours, strict=True)) if len(set(pair)) > 1
    )
    return f"has another order: {noun} {index} is {theirs[index]!r} and not {ours[index]!r}"
