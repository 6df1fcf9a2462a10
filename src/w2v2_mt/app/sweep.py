"""A sweep whose jobs run elsewhere: they are submitted, waited for, and what failed is told."""

import csv
import logging
import os
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn, JobStatus

from w2v2_mt.app.sweep_plan import PlannedJob

if TYPE_CHECKING:
    import submitit

log = logging.getLogger(__name__)

TABLE_FILE = "jobs.tsv"
ERRORS_FILE = "errors.txt"
_LOOK_SEC = 1.0
_QUEUE_SEC = 10.0
_NUM_LINES = 40
_ASKED_TOO_MUCH = {"BadConstraints", "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit"}
"""What squeue says of jobs that cannot start as they are."""


class Sweep:
    """Jobs of which some are done, with `jobs.tsv` (which job is where) and `errors.txt`.

    Args:
        folder: of the sweep.
        jobs: all of them, the finished ones too.
        submitit_folder: where submitit keeps logs and pickled jobs; `%j` is the number of a job.
        in_slurm: whether squeue knows the jobs.
    """

    def __init__(
        self, folder: Path, jobs: Sequence[PlannedJob], *, submitit_folder: Path, in_slurm: bool
    ):
        self.folder = folder
        self.jobs = list(jobs)
        self.submitit_folder = submitit_folder
        self.in_slurm = in_slurm
        self._submitted: dict[int, submitit.Job[JobReturn]] = {}
        self._errors: dict[int, str] = {}
        self.results: dict[int, JobReturn] = {}
        self._told: set[str] = set()

    @property
    def unfinished(self) -> list[PlannedJob]:
        return [job for job in self.jobs if not job.is_finished]

    def refuse_to_run_twice(self) -> None:
        """Raises ValueError where jobs of this sweep are still in the queue: both would write."""
        if not self.in_slurm or not self.submitit_folder.parent.is_dir():
            return
        known = {path.name.split("_")[0] for path in self.submitit_folder.parent.iterdir()}
        running = sorted({number.split("_")[0] for number in _queue()} & known)
        if running:
            raise ValueError(
                f"jobs of the sweep in {self.folder} are still in the queue as "
                f"{', '.join(running)}; wait for them, or end them with scancel "
                f"{' '.join(running)}."
            )

    def announce(self) -> None:
        """Say what will be done and where."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ERRORS_FILE).unlink(missing_ok=True)
        log.info(f"sweep: {self.folder}")
        for job in self.jobs:
            done = " (finished before)" if job.is_finished else ""
            log.info(f"#{job.number}{done}: {job.settings}")

    def wait(
        self,
        submit: Callable[[Sequence[PlannedJob]], Sequence[Any]],
        *,
        num_at_a_time: int,
    ) -> None:
        """Submit the jobs, so many at a time, until each has a result or is known to have none.

        SLURM itself holds back what exceeds the number; elsewhere the next job waits here.
        """
        waiting = self.unfinished
        looked = time.monotonic()
        missing: set[int] = set()
        while waiting or len(self.results) < len(self._submitted):
            num_running = len(self._submitted) - len(self.results)
            num_free = len(waiting) if self.in_slurm else num_at_a_time - num_running
            if waiting and num_free > 0:
                self._submit(submit, waiting[:num_free])
                waiting = waiting[num_free:]
            for job in self._running():
                if _has_result(self._submitted[job.number]):
                    self._take_result(job)
            if self.in_slurm and time.monotonic() - looked > _QUEUE_SEC:
                looked = time.monotonic()
                missing = self._tell_missing(missing)
            elif not self.in_slurm:
                for job in self._running():
                    submitted = self._submitted[job.number]
                    if submitted.done() and not _has_result(submitted):
                        self._take_error(job, "it ended without a result")
            time.sleep(_LOOK_SEC)

    def report(self) -> bool:
        """Gather the errors in one file and name it; gives whether there are any."""
        if not self._errors:
            return False
        path = self.folder / ERRORS_FILE
        path.write_text("\n".join(self._errors[number] for number in sorted(self._errors)))
        numbers = ", ".join(f"#{number}" for number in sorted(self._errors))
        log.info(
            f"{len(self._errors)} of {len(self.jobs)} jobs failed ({numbers}); their errors are in "
            f"{path}"
        )
        return True

    def how_to_go_on(self) -> str:
        """For somebody who ends the wait with Ctrl-C."""
        ids = sorted({job.job_id.split("_")[0] for job in self._submitted.values()})
        rest = f"the same command with hydra.sweep.dir={self.folder} does what is left."
        if not self.in_slurm:  # A terminal tells all processes, and each job saves and ends.
            return f"the sweep and its jobs in {self.folder} end; {rest}"
        end = f"scancel {' '.join(ids)} ends them; " if ids else ""
        return f"no longer waiting for the jobs in {self.folder}, which go on; {end}{rest}"

    def _submit(
        self, submit: Callable[[Sequence[PlannedJob]], Sequence[Any]], jobs: Sequence[PlannedJob]
    ) -> None:
        for job, submitted in zip(jobs, submit(jobs), strict=True):
            self._submitted[job.number] = submitted
            log.info(f"#{job.number} is job {submitted.job_id}: {job.folder}")
        self._write_table()

    def _write_table(self) -> None:
        with (self.folder / TABLE_FILE).open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(["number", "job", "folder", "log", "overrides"])
            for job in self.jobs:
                submitted = self._submitted.get(job.number)
                name, output = "finished before", ""
                if submitted is not None:
                    name, output = submitted.job_id, str(_paths(submitted)[0].stdout)
                elif not job.is_finished:
                    name = "waiting"
                writer.writerow([job.number, name, job.folder, output, job.settings])

    def _running(self) -> list[PlannedJob]:
        return [
            job
            for job in self.jobs
            if job.number in self._submitted and job.number not in self.results
        ]

    def _take_result(self, job: PlannedJob) -> None:
        try:
            results = self._submitted[job.number].results()
        except Exception as error:  # What submitit makes of an error of any kind.
            self._take_error(job, str(error))
            return
        errors = [
            result._return_value for result in results if result.status != JobStatus.COMPLETED
        ]
        if not errors:
            self.results[job.number] = results[0]
            log.info(f"#{job.number} is done: {job.folder}")
            return
        # Where one task fails, the others fail for want of it; a ValueError is said to the user.
        raised = min(errors, key=lambda error: not isinstance(error, ValueError))
        self._take_error(job, f"{type(raised).__name__}: {raised}")

    def _tell_missing(self, missing: set[int]) -> set[int]:
        """Jobs that are neither in the queue nor have a result, at two looks in a row, are dead."""
        try:
            queue = _queue()
        except (OSError, subprocess.SubprocessError):
            return missing  # SLURM does not answer just now.
        self._tell_stuck(queue)
        absent = {
            job.number
            for job in self._running()
            if self._submitted[job.number].job_id not in queue
            and not _has_result(self._submitted[job.number])
        }
        for job in self._running():
            if job.number in absent & missing:
                state = _last_state(self._submitted[job.number].job_id)
                self._take_error(job, f"it ended without a result (SLURM: {state})")
        return absent

    def _tell_stuck(self, queue: Mapping[str, str]) -> None:
        """Once for each reason for which a job may wait for ever; SLURM does not refuse it."""
        stuck = {
            queue.get(self._submitted[job.number].job_id, "") for job in self._running()
        } & _ASKED_TOO_MUCH
        for reason in sorted(stuck - self._told):
            log.info(
                f"jobs wait because of {reason}: the partition does not give what they ask for "
                "(sinfo); end them, change CLUSTER_... in .env, and start again."
            )
        self._told |= stuck

    def _take_error(self, job: PlannedJob, sentence: str) -> None:
        from w2v2_mt.app.run_folder import ERROR_FILE

        first_line = sentence.strip().splitlines()[0] if sentence.strip() else "no message"
        log.info(f"#{job.number} failed: {first_line}")
        parts = [f"== #{job.number}: {job.settings}", f"folder: {job.folder}", sentence]
        trace = job.folder / ERROR_FILE
        if trace.exists():
            parts.append(trace.read_text())
        for paths in _paths(self._submitted[job.number]):
            for path in (paths.stdout, paths.stderr):
                if path.exists():
                    lines = path.read_text(errors="replace").splitlines()[-_NUM_LINES:]
                    parts.append("\n".join([f"-- the end of {path}", *lines]))
        self._errors[job.number] = "\n".join(parts) + "\n"
        self.results[job.number] = JobReturn()


def _tasks(submitted: "submitit.Job[Any]") -> "list[submitit.Job[Any]]":
    return [submitted.task(number) for number in range(submitted.num_tasks)]


def _paths(submitted: "submitit.Job[Any]") -> "list[submitit.core.utils.JobPaths]":
    return [task.paths for task in _tasks(submitted)]


def _has_result(submitted: "submitit.Job[Any]") -> bool:
    return all(paths.result_pickle.exists() for paths in _paths(submitted))


def _queue() -> dict[str, str]:
    """The jobs of this user that wait or run, those of an array one by one, and why they wait."""
    command = ["squeue", "-h", "-r", "-u", str(os.getuid()), "-o", "%i %r"]
    lines = [line.split(maxsplit=1) for line in _answer(command).splitlines() if line.strip()]
    return {number: " ".join(reason) for number, *reason in lines}


def _last_state(job_id: str) -> str:
    try:
        found = re.search(r"JobState=(\w+)", _answer(["scontrol", "show", "job", job_id]))
    except (OSError, subprocess.SubprocessError):
        found = None
    return found.group(1) if found else "no longer known"


def _answer(command: list[str]) -> str:
    finished = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    return finished.stdout
