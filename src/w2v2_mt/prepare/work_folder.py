"""A folder for unfinished results, in which a stopped preparation resumes."""

import fcntl
import json
import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO, TypeVar

from w2v2_mt.core.atomic_output import replace_text

RECORD_FILE = "preparation.json"
"""File in the last folder of a result that records its inputs and options."""

_COMPLETE = "complete"
_LOCK = "lock"
_WORKERS_LOCK = "workers_lock"

Result = TypeVar("Result")


def produce(
    targets: Sequence[Path],
    *,
    work: Path,
    record: Mapping[str, object],
    overwrite: bool,
    fill: Callable[[Path], Result],
    other_source: str = "other archives",
) -> Result | None:
    """Call `fill` to make the folders `work/<name of target>`, then move them to the targets.

    `record` contains all that decides the result. Where an earlier call with the same record was
    stopped, `fill` finds in `work` what it had written. Returns the result of `fill`, or None where
    the targets are there already, made with this record. Raises ValueError where a target was made
    with another record, such as from `other_source`, unless `overwrite`, or where another process
    works in `work`.
    """
    text = json.dumps(record, indent=1) + "\n"
    if (work / _COMPLETE).exists():
        with _lock(work):
            _move(work, targets)
        _remove(work)
    if _has_record(targets[-1], text):
        return None
    existing = [target for target in targets if target.exists()]
    if existing and not overwrite:
        raise ValueError(
            f"{existing[0]} exists already, made from {other_source} or with other options; "
            "move it away, or pass --overwrite to replace it."
        )
    work.mkdir(parents=True, exist_ok=True)
    with _lock(work):
        _clear_others(work, text)
        result = fill(work)
        (work / targets[-1].name / RECORD_FILE).write_text(text, encoding="utf-8")
        (work / _COMPLETE).touch()
        _move(work, targets)
    _remove(work)
    return result


@contextmanager
def at_work(work: Path) -> Iterator[None]:
    """Hold a lock while a worker writes below `work`, so that it does not outlive its run.

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
def resumable(work: Path, record: Mapping[str, object]) -> Iterator[Path]:
    """Hold a folder of unfinished results for one process; it is removed unless there is an error.

    What an earlier call with the same record left there stays, and all else is removed. Raises
    ValueError where another process works in the folder.
    """
    text = json.dumps(record, indent=1) + "\n"
    work.mkdir(parents=True, exist_ok=True)
    with _lock(work):
        _clear_others(work, text)
        yield work
    _remove(work)


@contextmanager
def temporary(work: Path) -> Iterator[None]:
    """Make an empty folder for the time of the context, and for one process alone.

    What a killed process has left there is removed. Raises ValueError where another one is at work.
    """
    work.mkdir(exist_ok=True)
    lock = _lock(work)
    try:
        with lock:
            _clear(work)
            yield
    finally:
        _remove(work)


def _has_record(folder: Path, text: str) -> bool:
    path = folder / RECORD_FILE
    return path.is_file() and path.read_text(encoding="utf-8") == text


def _clear_others(work: Path, text: str) -> None:
    """Remove what a call with another record has left."""
    if not _has_record(work, text):
        _clear(work)
        replace_text(work / RECORD_FILE, text)


def _move(work: Path, targets: Sequence[Path]) -> None:
    """Move the results; a call that was stopped anywhere can be repeated."""
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
    _clear(work, _COMPLETE)


def _clear(work: Path, *kept: str) -> None:
    """Remove all but the locks and the files that are named."""
    for entry in work.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name not in (_LOCK, _WORKERS_LOCK, *kept):
            entry.unlink()


def _remove(work: Path) -> None:
    """Remove the folder after its lock is closed, since NFS keeps open files and their folder."""
    shutil.rmtree(work, ignore_errors=True)  # another process may have begun to remove it too


def _lock(work: Path) -> TextIO:
    """Lock a folder until the returned file is closed; raise ValueError if it is locked."""
    file = open(work / _LOCK, "w")  # noqa: SIM115
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise ValueError(
            f"another process is at work in {work}; wait for it or stop it."
        ) from error
    with open(work / _WORKERS_LOCK, "w+") as workers_file:
        fcntl.flock(workers_file, fcntl.LOCK_EX)  # until the workers of a killed run have ended
    return file
