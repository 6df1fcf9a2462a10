"""Atomic writes: a file or folder is complete at its path, or it is not there."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from w2v2_mt.core.errors import name_in_errors


@contextmanager
def atomic_replacement(path: Path) -> Iterator[Path]:
    """Replace a file at once, so that it is the former or the new one even after a kill.

    A link at `path` is replaced, not followed. After an error nothing is left of the new file.

    Yields:
        The path next to `path` to write the new file to. Its name is always the same, so that what
        a killed process left there is overwritten.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)  # It may be a link, which opening would follow.
        with name_in_errors(path):
            yield part
            os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def replace_text(path: Path, text: str) -> None:
    """Replace a text file at once, in UTF-8; a link at `path` is replaced, not followed."""
    with atomic_replacement(path) as part:
        part.write_text(text, encoding="utf-8")


def check_no_link(folder: Path) -> None:
    """Raise a ValueError if a folder that a command writes to is a link, which leads elsewhere."""
    if folder.is_symlink():
        raise ValueError(
            f"{folder} is a link to {os.readlink(folder)}, and files are only written to folders "
            "that belong to the run or sweep itself. Replace the link by a folder, into which you "
            "move or copy what it leads to, or remove it."
        )


def make_folder(folder: Path) -> None:
    """Make a folder inside that of a run or sweep, unless it exists; a link is a ValueError."""
    check_no_link(folder)
    folder.mkdir(exist_ok=True)


def check_is_new(path: Path, kind: Literal["file", "folder"]) -> None:
    """Raise a ValueError if a path cannot become a new file or folder."""
    if os.path.lexists(path):
        raise ValueError(f"{path} exists already. Name a new {kind}, or move this one away.")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise ValueError(f"{path} cannot be written, as {parent} is not a folder. Name another.")


def _apply_umask(written: Path) -> None:
    """Give files the mode that `open` gives: safetensors makes files that only the owner reads."""
    new_file = written.with_name(f"{written.name}.mode")
    new_file.touch()
    mode = stat.S_IMODE(new_file.stat().st_mode)
    for path in [written, *written.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            path.chmod(mode)


@contextmanager
def atomic_output(path: Path) -> Iterator[Path]:
    """Create a new file or folder, which appears at its path when it is complete.

    Nothing is left of it after an error, Ctrl-C or SIGTERM, which raises KeyboardInterrupt here.

    Yields:
        The path to write to, in a temporary folder next to `path`.

    Raises:
        ValueError: It cannot be written, or something is at `path` at the end.
    """
    # Missing parents of `path` are made at the end, since an error would leave them.
    parent = next(folder for folder in path.parents if folder.exists())
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with TemporaryDirectory(dir=parent, prefix=f".{path.name}.") as folder:
            written = Path(folder) / path.name
            yield written
            _apply_umask(written)
            check_is_new(path, "folder" if written.is_dir() else "file")
            path.parent.mkdir(parents=True, exist_ok=True)
            written.rename(path)
    except OSError as error:
        raise ValueError(
            f"{path} cannot be written ({error.strerror or error}). Make room for it, or name "
            "another place."
        ) from error
    finally:
        signal.signal(signal.SIGTERM, former)
