"""Files of other machines, which are downloaded whole into a cache folder when they are read.

A remote folder is mirrored: `https://host/a/b` is `<cache>/https/host/a/b` on this machine. Whoever
reads a file of a mirror calls `fetch` before; the path is then that of an ordinary file. A mirror
belongs to this process and to those that are forked from it.
"""

import errno
import fcntl
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from w2v2_mt.core.addresses import PIPE, expand, explain
from w2v2_mt.core.limits import size_in_mib

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs"}
"""Packages for protocols that this project does not install."""

_PAUSES_SEC = (1.0, 5.0, 25.0)
"""The pauses before a failed download is tried again."""
_SILENCE_SEC = 60
_STATUS_OF_REFUSAL = (400, 401, 403, 410)
_ERRORS_OF_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """A folder of another machine, and what is known of its files.

    Args:
        url: Its address; environment variables in it (`$NAME`) are expanded when it is used.
        query: What follows the name of each file, such as `?$QUERY`.
        commands: The command that writes each file, if it comes from a pipe.
        sizes: The size of each file that is known, in bytes.
    """

    url: str
    query: str = ""
    commands: dict[str, str] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)

    def url_of(self, name: str) -> str:
        """Return the address of a file, with the names of variables, as messages may show it."""
        return self.commands.get(name) or f"{self.url}/{name}{self.query}"


_mirrors: dict[Path, RemoteFolder] = {}


def mirrors() -> dict[Path, RemoteFolder]:
    """Return the mirrors of this process, for a process that is not forked from it."""
    return _mirrors


def share_mirrors(others: Mapping[Path, RemoteFolder]) -> None:
    """Use the mirrors of another process."""
    _mirrors.update(others)


def mirror(folder: RemoteFolder, cache_folder: Path) -> Path:
    """Return the folder on this machine in which the files of a remote folder are kept."""
    if folder.url.startswith(PIPE):
        path = cache_folder.resolve() / "pipe" / folder.url.removeprefix(PIPE)
    else:
        parts = urlsplit(folder.url)
        host = parts.netloc.rpartition("@")[2].replace(":", "_")
        inner = [part for part in parts.path.split("/") if part not in ("", ".", "..")]
        path = cache_folder.resolve().joinpath(parts.scheme, host, *inner)
    known = _mirrors.setdefault(path, folder)
    known.commands.update(folder.commands)
    return path


def remote_folder_of(path: Path) -> tuple[RemoteFolder, str] | None:
    """Return the remote folder of a file or folder in a mirror, and its path there."""
    for parent in (path, *path.parents):
        if (folder := _mirrors.get(parent)) is not None:
            return folder, path.relative_to(parent).as_posix()
    return None


def announced_size(path: Path) -> int | None:
    """Return the size of a file of a mirror, as its server has announced it; None if unknown."""
    found = remote_folder_of(path)
    return None if found is None else found[0].sizes.get(found[1])


def fetch(path: Path, *, is_optional: bool = False) -> None:
    """Download a file of a mirror, unless it is there; do nothing for any other path.

    Several processes may ask for the same file: one of them downloads it.

    Args:
        is_optional: Do nothing if the file does not exist.

    Raises:
        ValueError: It cannot be downloaded, is not as large as announced, or cannot be written.
    """
    if path.exists() or (found := remote_folder_of(path)) is None:
        return
    folder, name = found
    part = path.with_name(f".{path.name}.part")
    with explain_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with lock_file(path):
            if path.exists():
                return
            try:
                _download(folder, name, part, is_optional=is_optional)
                if part.exists():
                    part.replace(path)
            finally:
                part.unlink(missing_ok=True)


def file_system(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path in it.

    Raises:
        ValueError: A package is missing.
    """
    import fsspec  # It takes a while.

    protocol = url.partition("://")[0]
    options: dict[str, Any] = {}
    if protocol in ("http", "https"):
        import aiohttp

        # By default a download may take five minutes in all.
        timeout = aiohttp.ClientTimeout(total=None, connect=_SILENCE_SEC, sock_read=_SILENCE_SEC)
        options = {"client_kwargs": {"timeout": timeout, "trust_env": True}}
    try:
        return fsspec.url_to_fs(expand(url), **options)
    except ImportError as error:
        package = _PACKAGES.get(protocol, protocol)
        raise ValueError(
            f"{url} needs the package {package}, which is not installed. Install it with "
            f"`pip install {package}`."
        ) from error


def _download(folder: RemoteFolder, name: str, part: Path, *, is_optional: bool) -> None:
    url = folder.url_of(name)
    if name in folder.commands:
        _run_command(url, part)
        return
    if folder.url.startswith(PIPE):
        return  # A pipe gives its shards only.
    log.info(f"downloading {url}")
    system, remote = file_system(url)
    for pause_sec in (*_PAUSES_SEC, None):
        try:
            expected = folder.sizes.get(name)
            if expected is None:
                expected = system.info(remote).get("size")
            system.get_file(remote, str(part))
            found = part.stat().st_size
            if expected is not None and found != expected:
                raise EOFError(f"{found} bytes came, not {expected}")
            return
        except FileNotFoundError as error:
            part.unlink(missing_ok=True)
            if is_optional:
                return
            raise explain(url, error) from None
        except Exception as error:  # Each protocol has errors of its own.
            if isinstance(error, OSError) and error.errno in _ERRORS_OF_DISK:
                raise
            is_refused = getattr(error, "status", None) in _STATUS_OF_REFUSAL
            if pause_sec is None or is_refused or isinstance(error, PermissionError):
                raise explain(url, error) from None
            log.warning(f"{explain(url, error)} It is tried again in {pause_sec:.0f} s.")
            time.sleep(pause_sec)


def _run_command(command: str, part: Path) -> None:
    """Write the output of a command to a file."""
    with part.open("wb") as file:
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.removeprefix(PIPE)],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.PIPE,
        )
    if done.returncode != 0 or part.stat().st_size == 0:
        lines = done.stderr.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "it wrote nothing")
        raise ValueError(
            f"the command of {command} must write a shard, but ended with code {done.returncode} "
            f"({last.strip():.200}). Run it in a shell."
        )


@contextmanager
def explain_disk(path: Path) -> Iterator[None]:
    """Raise a ValueError with the remedy where the cache folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = os.statvfs(path.parent)
            raise ValueError(
                f"the disk of the cache folder is full: {path} does not fit into "
                f"{size_in_mib(free.f_bavail * free.f_frsize)}. Free some space, or set "
                "cache_folder to a folder on another disk, and start again; a run resumes in its "
                "folder."
            ) from None
        raise ValueError(
            f"{path} cannot be written ({error.strerror or error}). Set cache_folder to a folder "
            "that you may write to."
        ) from None


@contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Wait until no other process downloads the same file."""
    lock = path.with_name(f".{path.name}.lock")
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
        # Whoever waits for it finds the file now. After an error they must wait for each other.
        with suppress(OSError):
            lock.unlink()
