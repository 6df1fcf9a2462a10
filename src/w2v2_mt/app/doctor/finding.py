"""A finding of the doctor: one thing that this machine has or lacks."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from textwrap import TextWrapper


class State(Enum):
    """The states of a finding, in the order in which they are printed."""

    MISSING = "missing"
    NOTE = "note"
    OK = "ok"


@dataclass(frozen=True)
class Finding:
    """A finding about the machine, the commands that need it, and how to get what is missing.

    Args:
        commands: Shell commands that close the gap, which are not printed where there is none.
        is_required: True if no command runs without it.
    """

    subject: str
    state: State
    found: str
    needed_for: str
    commands: Sequence[str] = ()
    is_required: bool = False


def format_findings(findings: Sequence[Finding], width: int) -> str:
    """Format findings as text, missing things first, otherwise in the given order."""
    state_width = max(len(state.value) for state in State)
    subject_width = max(len(finding.subject) for finding in findings)
    margin = " " * (state_width + subject_width + 4)
    wrapper = TextWrapper(
        width=max(width, len(margin) + 30), break_long_words=False, break_on_hyphens=False
    )
    wrapper.subsequent_indent = margin
    lines = []
    for finding in sorted(findings, key=lambda finding: list(State).index(finding.state)):
        name = f"{finding.state.value:<{state_width}}  {finding.subject:<{subject_width}}  "
        lines += wrapper.wrap(name + finding.found)
        if finding.state is not State.OK:
            lines += wrapper.wrap(f"{margin}for {finding.needed_for}")
            lines += [f"{margin}$ {command}" for command in finding.commands]
    return "\n".join(lines)
