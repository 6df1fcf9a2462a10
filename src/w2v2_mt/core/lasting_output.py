"""Standard output that may go away: a closed terminal or pipe, a full disk under a log."""

import io
import sys
from contextlib import suppress
from typing import Any


class LastingFile(io.FileIO):
    """A file descriptor to write to, which drops what can no longer be written."""

    def write(self, content: Any, /) -> int:
        """Write bytes, and return their number also if there is nobody left to read them."""
        try:
            return super().write(content)
        except OSError:
            return memoryview(content).nbytes


def outlive_output() -> None:
    """Let this process continue when its standard output or standard error goes away.

    A stream that is not a file descriptor, such as that of a notebook, stays as it is.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        with suppress(OSError, AttributeError, ValueError):
            stream.flush()
            output = LastingFile(stream.fileno(), "w", closefd=False)
            lasting = io.TextIOWrapper(
                io.BufferedWriter(output),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
                write_through=stream.write_through,
            )
            setattr(sys, name, lasting)
