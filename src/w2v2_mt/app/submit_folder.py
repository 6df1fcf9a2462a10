"""The folder through which a sweep and its jobs exchange files: pickled jobs, logs and results.

A job unpickles what it is to do, which runs code of whoever wrote the file. Nobody else may
therefore write to the folder, and each launch uses folders that did not exist before. The results
of jobs are JSON, so that a sweep unpickles nothing.
"""

import json
import os
import secrets
import signal
import stat
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus

from w2v2_mt.core.atomic_output import atomic_replacement
from w2v2_mt.runs.folder_lock import Holder

_SECONDS_BETWEEN_LOOKS = 1
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def new_submit_folder(pattern: Path, *, sweep_folder: Path) -> Path:
    """Return the pattern of the job folders of one launch, in which nothing exists yet.

    Args:
        pattern: The setting, such as `<sweep>/.submitit/%j`, where `%j` is the id of a job.
        sweep_folder: The folder of the sweep, created if it does not exist.

    Raises:
        ValueError: One of the folders is not private: others could replace what the jobs run.
    """
    sweep_folder.mkdir(parents=True, exist_ok=True)
    check_is_private(sweep_folder)
    folder = pattern.parent
    if not os.path.lexists(folder):
        folder.mkdir(mode=0o700, parents=True)
    check_is_private(folder)
    folder.chmod(0o700)  # submitit makes the folders of jobs as the umask has it.
    # The id of a job on this machine, which is that of its process, can be guessed; this cannot.
    return folder / f"{secrets.token_hex(8)}-{pattern.name}"


def job_id_of(job_folder: Path) -> str:
    """Return the id of a job, or of its array, whose folder was made by any launch."""
    return job_folder.name.rpartition("-")[2].split("_")[0]


def check_is_private(folder: Path) -> None:
    """Raise a ValueError if another user owns a folder or can write to it."""
    if folder.is_symlink():
        raise ValueError(
            f"{folder} must not be a link, because it may lead into a folder of somebody else. "
            "Remove it, or name the folder itself (hydra.sweep.dir)."
        )
    if not folder.is_dir():
        raise ValueError(f"{folder} must be a folder. Move this file away.")
    status = folder.stat()
    if status.st_uid != os.geteuid():
        raise ValueError(
            f"{folder} belongs to another user, who could replace the jobs of a sweep. Choose a "
            "folder of your own (hydra.sweep.dir), or copy this one."
        )
    if status.st_mode & _WRITABLE_BY_OTHERS and not status.st_mode & stat.S_ISVTX:
        raise ValueError(
            f"{folder} can be written by other users, who could replace the jobs of a sweep. Run "
            f"`chmod go-w {folder}`."
        )
    for parent in folder.resolve().parents:
        mode = parent.stat().st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            raise ValueError(
                f"{parent} can be written by every user, who could replace {folder} in it. Run "
                f"`chmod o-w {parent}`, or choose another folder (hydra.sweep.dir)."
            )


def end_with(launcher: Holder) -> None:
    """Stop this job, as Ctrl-C does, when the process that launched it on this machine has ended.

    A launcher that is killed, or whose terminal is closed, would leave its job training.
    """

    def watch() -> None:
        while not launcher.is_gone(launcher, age_sec=0):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=watch, daemon=True).start()


def result_file(paths: Any) -> Path:
    """Return the file for the result of a task, next to that of submitit."""
    return Path(paths.result_pickle).with_suffix(".json")


def write_result(path: Path, returned: JobReturn) -> None:
    """Write the dev score of a job, or its error in words."""
    value = returned._return_value
    result: dict[str, Any]
    if returned.status == JobStatus.COMPLETED:
        result = {"is_completed": True, "score": None if value is None else float(value)}
    else:
        result = {
            "is_completed": False,
            "error": f"{type(value).__name__}: {value}",
            "is_for_user": isinstance(value, ValueError),
        }
    with atomic_replacement(path) as part:
        part.write_text(json.dumps(result))


def read_results(files: Sequence[Path], overrides: Sequence[str]) -> JobReturn | str:
    """Return the result of the first process of a job, or the error of one that failed."""
    try:
        results = [json.loads(path.read_text()) for path in files]
        failed = [each for each in results if each["is_completed"] is not True]
        if failed:
            # When one process fails, the others fail as well; a ValueError is for the user.
            first = min(failed, key=lambda each: each["is_for_user"] is not True)
            return str(first["error"])
        score = results[0]["score"]
        value = None if score is None else float(score)
    except (KeyError, OSError, TypeError, ValueError) as error:
        return f"its result cannot be read ({error!r})"
    status = JobStatus.COMPLETED
    return JobReturn(overrides=overrides, _return_value=value, status=status)
