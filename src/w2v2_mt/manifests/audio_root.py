"""The folder that holds all audio of a manifest: no path and no link leads out of it."""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from w2v2_mt.manifests.rows import LineError

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass
class AudioRoot:
    """The root of a corpus, against which the paths of its manifest are checked."""

    folder: Path
    _real: str = field(init=False)
    _names: tuple[str, ...] = field(init=False)
    _is_inside: dict[str, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise ValueError(f"{self.folder} is not a folder. Name the folder with the audio.")
        self._real = _with_slash(os.path.realpath(self.folder))
        self._names = tuple({_with_slash(os.path.abspath(self.folder)): None, self._real: None})

    def relative(self, path: str) -> str:
        """Return the path of an audio file relative to the root, without `..`, after checks.

        Args:
            path: A path relative to the root, or an absolute one.

        Raises:
            LineError: The path or a link leads out of the root, or is not that of a plain file.
        """
        if "\0" in path or _SURROGATES.search(path):
            raise LineError(f"its path {path!r} holds a character that no name of a file can have.")
        joined = os.path.normpath(os.path.join(self._names[0], path))
        prefix = next((each for each in self._names if joined.startswith(each)), None)
        if prefix is None:
            raise LineError(
                f"{path!r} is outside of {self.folder}, from where files are read. Pass the folder "
                "that holds all audio as --root."
            )
        relative = joined[len(prefix) :]
        self._check_file(relative, path)
        return relative

    def contains(self, path: str | Path) -> bool:
        """Return True unless a path leads out of the root, also by links."""
        return _with_slash(os.path.realpath(path)).startswith(self._real)

    def _check_file(self, relative: str, path: str) -> None:
        full = self._names[0] + relative
        folder = os.path.dirname(full)
        if folder not in self._is_inside:
            self._is_inside[folder] = self.contains(folder)
        try:
            status = os.lstat(full)
            is_inside = self._is_inside[folder]
            if is_inside and stat.S_ISLNK(status.st_mode):
                is_inside = self.contains(full)
                status = os.stat(full)
        except OSError as error:
            advice = ""
            if "://" in path:
                advice = " Addresses are not read: download the files first."
            elif "\\" in path:
                advice = " Folders are separated by / and not by \\."
            raise LineError(
                f"{path!r} cannot be read in {self.folder} ({error.strerror}).{advice}"
            ) from error
        if not is_inside:
            raise LineError(
                f"{path!r} is or goes through a link that leads out of {self.folder}. Pass the "
                "folder that holds all audio as --root, or replace the link by a copy."
            )
        if not stat.S_ISREG(status.st_mode):
            raise LineError(f"{path!r} is a folder, pipe or device, and not a plain file.")


def _with_slash(folder: str) -> str:
    return folder.rstrip("/") + "/"
