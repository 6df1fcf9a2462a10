"""Disturbances of the jobs of a sweep on SLURM, as users, machines and schedulers cause them."""

import json
import os
import random
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from w2v2_mt.runs.folder_lock import LOCK_FILE


class Storm:
    """Stop training jobs of a sweep in random order, each start of a job at most once.

    Args:
        ways: TERM, USR2, KILL or requeue, for each disturbance.
        max_step: A job is disturbed after a number of logged steps between 1 and this one.
        spared: The names of the folders of jobs that are never disturbed.
    """

    def __init__(
        self, folder: Path, ways: list[str], *, max_step: int, spared: list[str], seed: int
    ) -> None:
        self.folder = folder
        self.spared = spared
        self.rng = random.Random(seed)
        self.ways = self.rng.sample(ways, len(ways))
        self.max_step = max_step
        self.done = Counter[str]()
        self._steps: dict[tuple[Path, int], int] = {}

    def disturb(self) -> None:
        """Disturb a job that has trained long enough, if there is one."""
        holders = {run: _read_holder(run) for run in self.folder.iterdir() if run.name.isdecimal()}
        ready = []
        for run, holder in sorted(holders.items()):
            if holder is None or run.name in self.spared:
                continue
            start = run, holder["pid"]
            if start not in self._steps:
                # A resumed run has logged steps before.
                self._steps[start] = _num_steps(run) + self.rng.randint(1, self.max_step)
            if _num_steps(run) >= self._steps[start]:
                ready.append((run, holder))
        if not ready or not self.ways:
            return
        run, holder = self.rng.choice(ready)
        way, job = self.ways[-1], holder["job"]
        if way == "KILL":  # As the kernel does when memory runs out; SLURM itself asks first.
            os.kill(holder["pid"], signal.SIGKILL)
        else:
            command = ("scontrol", "requeue") if way == "requeue" else ("scancel", "-s", way)
            if subprocess.run([*command, job], check=False, capture_output=True).returncode:
                return  # It has just ended.
        self._steps[run, holder["pid"]] = 1_000_000
        self.ways.pop()
        self.done[way] += 1


def _read_holder(run: Path) -> dict[str, Any] | None:
    try:
        holder: dict[str, Any] = json.loads((run / LOCK_FILE).read_text())
    except (OSError, ValueError):
        return None
    return holder if Path(f"/proc/{holder['pid']}").exists() else None


def _num_steps(run: Path) -> int:
    rows = run / "metrics.csv"
    return max(0, len(rows.read_text().splitlines()) - 1) if rows.exists() else 0
