"""The commands of SLURM that a sweep needs, and the environment in which it submits jobs."""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_OF_CLUSTER = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
"""Variables that lead SLURM's commands to the cluster; the others are those of an allocation."""


@contextmanager
def without_allocation() -> Iterator[None]:
    """Hide the variables of the allocation in which a sweep is started, such as that of `salloc`.

    sbatch and srun would take its memory, its number of tasks and its binding to cores for options
    of the new jobs.
    """
    allocation = {
        name: os.environ.pop(name)
        for name in list(os.environ)
        if name.startswith("SLURM_") and name not in _OF_CLUSTER
    }
    try:
        yield
    finally:
        os.environ.update(allocation)


def read_queue() -> dict[str, str]:
    """Map the id of each job of this user, also of each in an array, to why it is pending."""
    answer = _ask("squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i %r")
    lines = [line.split(maxsplit=1) for line in answer.splitlines() if line.strip()]
    return {job_id: " ".join(reason) for job_id, *reason in lines}


def read_last_state(job_id: str) -> str:
    """Return the last state of a job in the words of SLURM, or `unknown`."""
    with suppress(OSError, subprocess.SubprocessError):
        if found := re.search(r"JobState=(\w+)", _ask("scontrol", "show", "job", job_id)):
            return found[1]
    return "unknown"


def _ask(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
