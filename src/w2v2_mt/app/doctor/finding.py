"""A finding: one thing that this machine has or lacks."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from textwrap import TextWrapper


class State(Enum):
    """In the order in which findings are told."""

    MISSING = "missing"
    NOTE = "note"
    OK = "ok"


_STATE_WIDTH = max(len(state.value) for state in State)
_MIN_NUM_COLUMNS_OF_TEXT = 30


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What was found of a subject, which commands need it, and how to get what is missing.

    `all_need_it`: without it no command runs.
    """

    subject: str
    state: State
    found: str
    needed_for: str
    commands: Sequence[str] = ()
    all_need_it: bool = False


def lines_of(findings: Iterable[Finding], num_columns: int) -> list[str]:
    """As text of so many columns, what is missing first; the order is kept otherwise."""
    order = list(State)
    ordered = sorted(findings, key=lambda finding: order.index(finding.state))
    width = max((len(finding.subject) for finding in ordered), default=0)
    margin = " " * (_STATE_WIDTH + width + 4)
    wrapper = TextWrapper(
        width=max(num_columns, len(margin) + _MIN_NUM_COLUMNS_OF_TEXT),
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
    )
    lines = []
    for finding in ordered:
        wrapper.initial_indent = (
            f"{finding.state.value:<{_STATE_WIDTH}}  {finding.subject:<{width}}  "
        )
        lines += wrapper.wrap(finding.found)
        wrapper.initial_indent = margin
        if finding.state is not State.OK:
            lines += wrapper.wrap(f"for {finding.needed_for}")
        lines += [f"{margin}$ {command}" for command in finding.commands]
    return lines


def is_fatal(finding: Finding) -> bool:
    return finding.all_need_it and finding.state is State.MISSING
