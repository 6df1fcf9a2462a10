"""Results that a command writes anew: whole or not at all, and never in place of what is there."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from w2v2_mt.core.exit_codes import INTERRUPTED


def check_is_new(path: Path, kind: Literal["file", "folder"]) -> None:
    """Raises ValueError where there is something already, or no folder can be above it."""
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already; name a new {kind}, or move this one away.")
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise ValueError(f"{path} cannot be written, as {above} is no folder; name another.")


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write the file or folder that is moved to `path` at the end of the context.

    Nothing is left of it after an error, Ctrl-C or SIGTERM, which raises KeyboardInterrupt here.

    Raises ValueError where it cannot be written, or something is at `path` by then.
    """
    # Folders above `path` are made at the end, since they would be left behind as well.
    beside = next(folder for folder in path.parents if folder.exists())
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with TemporaryDirectory(dir=beside, prefix=f".{path.name}.") as folder:
            written = Path(folder) / path.name
            yield written
            check_is_new(path, "folder" if written.is_dir() else "file")
            path.parent.mkdir(parents=True, exist_ok=True)
            written.rename(path)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror or error}); make room for it, or name "
            "another place."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, former)


def run_writing(write: Callable[[], str]) -> int:
    """Say the sentence that `write` gives, or why there is no result; returns the exit code."""
    try:
        print(write())
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    return 0
