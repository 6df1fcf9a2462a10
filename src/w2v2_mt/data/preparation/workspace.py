"""A folder in which results grow until they are complete; a run that was stopped goes on there."""

import fcntl
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

RECORD_FILE = "preparation.json"
"""What a result was made of and how, in the last of its folders."""

_COMPLETE = "complete"
_LOCK = "lock"
_WORKERS_LOCK = "workers_lock"


def write_atomically(path: Path, text: str) -> None:
    """Write a file that is there completely or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def produce(
    targets: Sequence[Path],
    *,
    work: Path,
    record: Mapping[str, object],
    overwrite: bool,
    fill: Callable[[Path], None],
) -> bool:
    """Let `fill` make the folders `work/<name of target>`, then move them to the targets.

    `record` says all that decides the result. Where an earlier call with the same record was
    stopped, `fill` finds in `work` what it had written; a complete result is not made again.

    Returns:
        False where the targets are there already, made with this record.

    Raises:
        ValueError: a target exists that was made with another record, and `overwrite` is False; or
            another process works in `work`.
    """
    text = json.dumps(record, indent=1) + "\n"
    if (work / _COMPLETE).exists():
        with _locked(work):
            _move(work, targets)
        _remove(work)
    if _text(targets[-1] / RECORD_FILE) == text:
        return False
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        raise ValueError(
            f"{existing[0]} exists already, made from other archives or with other options; move "
            "it away, or pass --overwrite to replace it."
        )
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work):
        if _text(work / RECORD_FILE) != text:
            _clear(work)
            write_atomically(work / RECORD_FILE, text)
        fill(work)
        (work / targets[-1].name / RECORD_FILE).write_text(text, encoding="utf-8")
        (work / _COMPLETE).touch()
        _move(work, targets)
    _remove(work)
    return True


@contextmanager
def at_work(work: Path) -> Iterator[None]:
    """For what a worker does below `work`, which must not outlive the run that asked for it.

    A worker ends a moment after a run that is killed. The next run waits for one that is within the
    context before it takes `work` over; one that comes later ends here, before it does anything.
    """
    with open(work / _WORKERS_LOCK, "w+") as file:  # on NFS, a shared lock needs a readable file
        fcntl.flock(file, fcntl.LOCK_SH)
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            os._exit(1)
        yield


@contextmanager
def temporary(work: Path) -> Iterator[None]:
    """An empty folder for the time of the context, and for one process alone.

    What a killed process has left there is removed. Raises ValueError where another one is at work.
    """
    work.mkdir(exist_ok=True)
    lock = _locked(work)
    try:
        with lock:
            for entry in work.iterdir():
                if entry.is_dir():
                    # ffmpeg, which the killed process had started, may write there for a moment.
                    shutil.rmtree(entry, ignore_errors=True)
            yield
    finally:
        _remove(work)


def _move(work: Path, targets: Sequence[Path]) -> None:
    """May be stopped anywhere and called again."""
    for target in targets:
        made = work / target.name
        if made.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                replaced = work / f"replaced-{target.name}"
                shutil.rmtree(replaced, ignore_errors=True)
                target.rename(replaced)
            made.rename(target)
    # The mark stays longer: without it, what is left would be taken for unfinished work.
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


def _remove(work: Path) -> None:
    """Remove the folder, whose lock has to be closed: an open file stays on NFS, and its folder."""
    shutil.rmtree(work, ignore_errors=True)  # another process may have begun to remove it too


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _clear(work: Path) -> None:
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in (_LOCK, _WORKERS_LOCK):
            entry.unlink()


def _locked(work: Path) -> TextIO:
    """The lock of a folder, which is held until the file is closed.

    Raises ValueError where another process holds it.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open(work / _LOCK, "w"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another process is at work in {work}; wait for it or stop it."
            ) from error
        with open(work / _WORKERS_LOCK, "w+") as workers_file:
            fcntl.flock(workers_file, fcntl.LOCK_EX)  # until the workers of a killed run have ended
        stack.pop_all()
        return file
