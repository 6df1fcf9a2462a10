"""Texts of others on a terminal: control characters are shown, not obeyed."""

import logging
import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1, of which some begin escape sequences
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # change the order in which text is shown
    "\u2028\u2029\ud800-\udfff]"  # line separators; bytes of file names that are not UTF-8
)


def visible(text: object, *, keep: str = "\n\t") -> str:
    r"""Return a text with its control characters as escapes, such as `\x1b`, except those to keep.

    File names, transcripts, names of metrics and messages of errors may hold sequences that clear
    the screen or change the title, the colors or the clipboard of a terminal.
    """
    return _CONTROLS.sub(
        lambda found: found[0] if found[0] in keep else ascii(found[0])[1:-1], str(text)
    )


def print_visible(text: object, *, to_stderr: bool = False) -> None:
    """Print a text that may hold words of others, to stdout or stderr."""
    print(visible(text), file=sys.stderr if to_stderr else sys.stdout, flush=True)


class StdoutHandler(logging.StreamHandler):
    """A handler of log messages that writes to the present `sys.stdout`.

    A progress bar replaces it while it is shown, so that messages appear above the bar.
    """

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:
        """The present stdout."""
        return sys.stdout


@contextmanager
def visible_tracebacks() -> Iterator[None]:
    """Print the traceback of an unexpected error, with control characters as escapes, and exit.

    Errors hold words of others, and Python and Hydra print them as they are.

    Raises:
        SystemExit: 1 after an error.
    """
    try:
        yield
    except Exception as error:
        print_visible(traceback.format_exc().rstrip(), to_stderr=True)
        raise SystemExit(1) from error


class VisibleFormatter(logging.Formatter):
    """A formatter of log messages, which may hold words of others."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the message with its control characters as escapes."""
        return visible(super().format(record))
