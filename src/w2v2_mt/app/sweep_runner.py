"""Plan the jobs of a sweep, submit them, wait for their results and collect their errors."""

import csv
import logging
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, env_override, filter_overrides
from omegaconf import DictConfig, OmegaConf, open_dict

from w2v2_mt.app.slurm_commands import read_last_state, read_queue
from w2v2_mt.app.submit_folder import job_id_of, read_results, result_file
from w2v2_mt.app.sweep_callback import job_variables
from w2v2_mt.core.atomic_output import atomic_replacement, check_no_link, replace_text
from w2v2_mt.core.units import count
from w2v2_mt.runs.folder_decision import Action, Command, decide, read_contents
from w2v2_mt.runs.run_folder import ERROR_FILE
from w2v2_mt.runs.sweep_folder import ERRORS_FILE, TABLE_FILE
from w2v2_mt.settings.validation import check_settings
from w2v2_mt.training.launcher import Processes, count_processes

log = logging.getLogger(__name__)

_NUM_LOG_LINES = 40
_NEVER_STARTS = {"BadConstraints", "PartitionConfig", "PartitionNodeLimit", "PartitionTimeLimit"}
"""Reasons, in the words of squeue, of jobs that the partition cannot run as they are."""


@dataclass(kw_only=True)
class PlannedJob:
    """One job of a sweep, and what became of it.

    Args:
        submitted: The job of submitit; None before it is submitted, or if it was finished before.
        result: Its result, which a job that was finished before has from the beginning.
        error: Its error, with the trace and the end of its logs.
    """

    number: int
    overrides: list[str]
    folder: Path
    submitted: Any = None
    result: JobReturn | None = None
    error: str = ""

    @property
    def settings(self) -> str:
        """The overrides of the job, without those of Hydra itself."""
        return " ".join(filter_overrides(self.overrides))

    @property
    def has_ended(self) -> bool:
        return self.result is not None or bool(self.error)

    @property
    def task_paths(self) -> list[Any]:
        """The paths of submitit for each task of the submitted job."""
        return [self.submitted.task(task).paths for task in range(self.submitted.num_tasks)]

    @property
    def result_files(self) -> list[Path]:
        """The files in which the tasks of the submitted job write their results."""
        return [result_file(paths) for paths in self.task_paths]

    @property
    def has_written_result(self) -> bool:
        return all(path.exists() for path in self.result_files)


def plan_jobs(
    config: DictConfig,
    loader: ConfigLoader,
    job_overrides: Sequence[Sequence[str]],
    *,
    first_number: int,
    sweep_folder: Path,
    processes: Processes,
) -> list[PlannedJob]:
    """Compose the settings of each job as the job itself will, and plan it.

    Raises:
        ValueError: The settings of a job are wrong, or ask for other processes.
    """
    before = HydraConfig.instance().cfg
    jobs = []
    try:
        for number, overrides in enumerate(map(list, job_overrides), first_number):
            composed = loader.load_sweep_config(config, overrides)
            with open_dict(composed.hydra.job):
                composed.hydra.job.id = f"job_id_for_{number}"
                composed.hydra.job.num = number
            # Resolvers such as that of the experiment name read the settings of Hydra from here.
            HydraConfig.instance().set_config(composed)
            folder = sweep_folder / str(composed.hydra.sweep.subdir)
            check_no_link(folder)
            keys = [str(key) for key in composed if key != "hydra"]
            with env_override(job_variables(composed)):
                settings = check_settings(OmegaConf.masked_copy(composed, keys))
            if count_processes(settings) != processes:
                raise ValueError(
                    f"a job of this sweep runs on {count_processes(settings)}, but the sweep asks "
                    f"for {processes} for each job. Give jobs with other devices a command of "
                    "their own."
                )
            job = PlannedJob(number=number, overrides=overrides, folder=folder)
            name = str(composed.hydra.job.config_name)
            command = Command(config_name=name, config=settings, is_sweep_job=True)
            decision = decide(command, read_contents(folder))
            if decision.action is Action.SKIP:
                job.result = JobReturn(
                    overrides=overrides,
                    _return_value=decision.score,
                    status=JobStatus.COMPLETED,
                )
            jobs.append(job)
    finally:
        HydraConfig.instance().cfg = before
    return jobs


@dataclass(kw_only=True)
class SweepRunner:
    """The jobs of a sweep, of which some may be finished, and the submitted SLURM or local jobs.

    `earlier` are the jobs of a sweep in several parts that have ended before. The runner writes
    `jobs.tsv` (one row per job, with its log) and `errors.txt`, looks for results every `poll_sec`
    seconds, and into the queue of SLURM every `queue_sec` seconds.
    """

    folder: Path
    jobs: Sequence[PlannedJob]
    earlier: Sequence[PlannedJob] = ()
    submitit_folder: Path  # Of logs and pickled jobs; `%j` is the id of a job.
    in_slurm: bool
    poll_sec: float = 1
    queue_sec: float = 10
    _reported_reasons: set[str] = field(default_factory=set)

    def check_not_queued(self) -> None:
        """Raise a ValueError if jobs of this sweep, which would write the same files, wait."""
        if not self.in_slurm or not self.submitit_folder.parent.is_dir():
            return
        known = {job_id_of(path) for path in self.submitit_folder.parent.iterdir()}
        queued = sorted({job_id.split("_")[0] for job_id in read_queue()} & known)
        if queued:
            raise ValueError(
                f"jobs of the sweep in {self.folder} are still in the queue as {', '.join(queued)}."
                f" Wait for them, or end them with scancel {' '.join(queued)}."
            )

    def run(
        self, submit: Callable[[Sequence[PlannedJob]], Sequence[Any]], *, num_at_a_time: int
    ) -> None:
        """Submit the unfinished jobs and wait until each has a result or has failed.

        `submit` returns jobs of submitit, of which at most `num_at_a_time` run at the same time;
        SLURM limits their number itself.
        """
        check_no_link(self.submitit_folder.parent)
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.earlier:
            (self.folder / ERRORS_FILE).unlink(missing_ok=True)
            log.info(f"sweep: {self.folder}")
        for job in self.jobs:
            log.info(f"#{job.number}{' (finished before)' if job.result else ''}: {job.settings}")
        looked_at, absent = time.monotonic(), set[int]()
        while unfinished := [job for job in self.jobs if not job.has_ended]:
            waiting = [job for job in unfinished if job.submitted is None]
            num_free = num_at_a_time - (len(unfinished) - len(waiting))
            ready = waiting if self.in_slurm else waiting[: max(num_free, 0)]
            if ready:
                for job, submitted in zip(ready, submit(ready), strict=True):
                    job.submitted = submitted
                    log.info(f"#{job.number} is job {submitted.job_id}: {job.folder}")
                self._write_table()
            for job in unfinished:
                if job.submitted is not None:
                    self._look_for_result(job)
            if self.in_slurm and time.monotonic() - looked_at > self.queue_sec:
                looked_at = time.monotonic()
                absent = self._look_into_queue(absent)
            time.sleep(self.poll_sec)
        failed = [job for job in self.jobs if job.error]
        if failed:
            path = self.folder / ERRORS_FILE
            errors = [job.error for job in (*self.earlier, *self.jobs) if job.error]
            replace_text(path, "\n".join(errors))
            numbers = ", ".join(f"#{job.number}" for job in failed)
            of_all = f"{len(failed)} of {count(len(self.jobs), 'job')} failed"
            log.info(f"{of_all} ({numbers}); their errors are in {path}")

    def describe_interruption(self) -> str:
        """Return what happens to the jobs after Ctrl-C, and how to continue."""
        rest = f"the same command with hydra.sweep.dir={self.folder} runs the remaining jobs."
        if not self.in_slurm:  # The terminal signals all processes, and each job saves and ends.
            return f"the sweep and its jobs in {self.folder} end; {rest}"
        submitted = [job.submitted for job in self.jobs if job.submitted is not None]
        ids = sorted({job.job_id.split("_")[0] for job in submitted})
        end = f"scancel {' '.join(ids)} ends them; " if ids else ""
        return f"no longer waiting for the jobs in {self.folder}, which continue; {end}{rest}"

    def _write_table(self) -> None:
        table = self.folder / TABLE_FILE
        with atomic_replacement(table) as part, part.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(["number", "job", "folder", "log", "overrides"])
            for job in (*self.earlier, *self.jobs):
                job_id, output = "finished before" if job.has_ended else "waiting", ""
                if job.submitted is not None:
                    job_id, output = job.submitted.job_id, str(job.task_paths[0].stdout)
                writer.writerow([job.number, job_id, job.folder, output, job.settings])

    def _look_for_result(self, job: PlannedJob) -> None:
        # Whether a job has ended is asked first, because it writes its result before.
        has_ended = not self.in_slurm and job.submitted.done()
        if not job.has_written_result:
            if has_ended:
                _fail(job, "it ended without a result")
            return
        result = read_results(job.result_files, job.overrides)
        if isinstance(result, str):
            _fail(job, result)
        else:
            job.result = result
            log.info(f"#{job.number} is done: {job.folder}")

    def _look_into_queue(self, absent_before: set[int]) -> set[int]:
        """Fail jobs that, at two looks in a row, were not in the queue and had no result.

        Takes the numbers of the jobs that were absent at the last look, and returns those of now.
        """
        try:
            queue = read_queue()
        except (OSError, subprocess.SubprocessError):
            return absent_before  # SLURM does not answer at the moment.
        running = {
            job.submitted.job_id: job
            for job in self.jobs
            if job.submitted is not None and not job.has_ended
        }
        # SLURM itself does not report jobs that never start.
        reasons = {queue[job_id] for job_id in running.keys() & queue} & _NEVER_STARTS
        for reason in sorted(reasons - self._reported_reasons):
            log.info(
                f"jobs wait because of {reason}: the partition does not give what they ask for "
                "(sinfo); end them, change CLUSTER_... in .env, and start again."
            )
        self._reported_reasons |= reasons
        absent = set()
        for job_id, job in running.items():
            if job_id not in queue and not job.has_written_result:
                absent.add(job.number)
                if job.number in absent_before:
                    _fail(job, f"it ended without a result (SLURM: {read_last_state(job_id)})")
        return absent


def _fail(job: PlannedJob, message: str) -> None:
    first_line = message.strip().partition("\n")[0] or "no message"
    log.info(f"#{job.number} failed: {first_line}")
    parts = [f"== #{job.number}: {job.settings}", f"folder: {job.folder}", message]
    trace = job.folder / ERROR_FILE
    if trace.exists():
        parts.append(trace.read_text())
    for paths in job.task_paths:
        for path in (paths.stdout, paths.stderr):
            if path.exists():
                lines = path.read_text(errors="replace").splitlines()[-_NUM_LOG_LINES:]
                parts.append("\n".join([f"-- the end of {path}", *lines]))
    job.error = "\n".join(parts) + "\n"
