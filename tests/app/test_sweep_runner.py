"""What a sweep submits when, and what it writes when jobs fail."""

import csv
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus

from w2v2_mt.app.slurm_commands import without_allocation
from w2v2_mt.app.submit_folder import result_file, write_result
from w2v2_mt.app.sweep_runner import PlannedJob, SweepRunner


class Submitted:
    """A job of submitit that ends at once with a result, an error, or neither."""

    num_tasks = 1

    def __init__(self, folder: Path, job_id: str, outcome: object):
        self.job_id = job_id
        self.paths = SimpleNamespace(
            stdout=folder / f"{job_id}.out",
            stderr=folder / f"{job_id}.err",
            result_pickle=folder / f"{job_id}.pkl",
        )
        self.paths.stdout.write_text(f"last line of {job_id}\n")
        self.end(outcome)

    def end(self, outcome: object) -> None:
        if isinstance(outcome, JobReturn):
            write_result(result_file(self.paths), outcome)

    def task(self, number: int) -> "Submitted":
        return self

    def done(self) -> bool:
        return True


def completed(value: float) -> JobReturn:
    return JobReturn(_return_value=value, status=JobStatus.COMPLETED)


def failed(error: Exception) -> JobReturn:
    return JobReturn(_return_value=error, status=JobStatus.FAILED)


def planned(folder: Path, number: int, *, is_finished: bool = False) -> PlannedJob:
    return PlannedJob(
        number=number,
        overrides=[f"seed={number}", "hydra.launcher.qos=long"],
        folder=folder / str(number),
        result=completed(0.25) if is_finished else None,
    )


def sweep_of(folder: Path, jobs: list[PlannedJob], **options) -> SweepRunner:
    (folder / ".submitit").mkdir()
    return SweepRunner(
        folder=folder,
        jobs=jobs,
        **{
            "submitit_folder": folder / ".submitit" / "%j",
            "in_slurm": False,
            "poll_sec": 0.0,
            **options,
        },
    )


def submitter(folder: Path, outcomes: dict[int, object], calls: list[list[int]]):
    def submit(jobs):
        calls.append([job.number for job in jobs])
        return [Submitted(folder, f"7_{job.number}", outcomes[job.number]) for job in jobs]

    return submit


@pytest.mark.parametrize(
    ("in_slurm", "calls_expected"), [(False, [[0], [2], [3]]), (True, [[0, 2, 3]])]
)
def test_slurm_gets_all_jobs_at_once_and_this_machine_a_few_at_a_time(
    tmp_path, in_slurm, calls_expected
):
    jobs = [planned(tmp_path, number, is_finished=number == 1) for number in range(4)]
    sweep = sweep_of(tmp_path, jobs, in_slurm=in_slurm)
    calls: list[list[int]] = []
    outcomes = {number: completed(number / 10) for number in range(4)}
    sweep.run(submitter(tmp_path, outcomes, calls), num_at_a_time=1)
    assert calls == calls_expected
    assert [job.result.return_value for job in jobs] == [0.0, 0.25, 0.2, 0.3]
    assert not any(job.error for job in jobs)
    assert not (tmp_path / "errors.txt").exists()
    with (tmp_path / "jobs.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["job"] for row in rows] == ["7_0", "finished before", "7_2", "7_3"]
    assert [row["overrides"] for row in rows] == [f"seed={number}" for number in range(4)]


def test_all_errors_are_in_one_file_and_the_next_job_runs(tmp_path):
    jobs = [planned(tmp_path, number) for number in range(4)]
    sweep = sweep_of(tmp_path, jobs)
    outcomes = {
        0: failed(ValueError("no such folder")),
        1: failed(RuntimeError("trouble of the cluster\nmore of it")),
        2: None,
        3: completed(0.5),
    }
    sweep.run(submitter(tmp_path, outcomes, []), num_at_a_time=1)
    assert [bool(job.error) for job in jobs] == [True, True, True, False]
    assert jobs[3].result.return_value == 0.5
    errors = (tmp_path / "errors.txt").read_text()
    assert "== #0: seed=0\n" in errors
    assert "ValueError: no such folder" in errors
    assert "trouble of the cluster\nmore of it" in errors
    assert "it ended without a result" in errors
    assert "last line of 7_2" in errors
    assert "#3" not in errors


def test_the_parts_of_a_sweep_share_a_table_and_a_file_of_errors(tmp_path):
    first = [planned(tmp_path, 0)]
    outcomes = {0: failed(ValueError("no such folder")), 1: completed(0.5), 2: None}
    sweep_of(tmp_path, first).run(submitter(tmp_path, outcomes, []), num_at_a_time=1)
    (tmp_path / ".submitit").rmdir()
    second = [planned(tmp_path, 1), planned(tmp_path, 2)]
    sweep = sweep_of(tmp_path, second, earlier=first)
    sweep.run(submitter(tmp_path, outcomes, []), num_at_a_time=1)
    with (tmp_path / "jobs.tsv").open(newline="") as file:
        assert [row["job"] for row in csv.DictReader(file, delimiter="\t")] == ["7_0", "7_1", "7_2"]
    errors = (tmp_path / "errors.txt").read_text()
    assert "no such folder" in errors
    assert "it ended without a result" in errors


def test_a_sweep_whose_jobs_are_queued_is_refused(tmp_path, monkeypatch):
    sweep = sweep_of(tmp_path, [planned(tmp_path, 0)], in_slurm=True)
    commands = tmp_path / "commands"
    commands.mkdir()
    squeue = commands / "squeue"
    squeue.write_text("#!/bin/sh\necho 7_0 None\necho 7_1 Resources\necho 9 None\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    sweep.check_not_queued()
    (tmp_path / ".submitit" / "7_0").mkdir()
    with pytest.raises(ValueError, match=r"still in the queue as 7\. .* scancel 7\.$"):
        sweep.check_not_queued()


def test_a_reason_for_which_jobs_never_start_is_logged_once(tmp_path, caplog, monkeypatch):
    jobs = [planned(tmp_path, number) for number in range(2)]
    submitted = [Submitted(tmp_path, f"7_{number}", None) for number in range(2)]
    looks = []

    def queue() -> dict[str, str]:
        looks.append(1)
        if len(looks) == 3:  # The limit of the partition was raised.
            for job in submitted:
                job.end(completed(0.5))
        return {"7_0": "PartitionTimeLimit", "7_1": "JobArrayTaskLimit"}

    monkeypatch.setattr("w2v2_mt.app.sweep_runner.read_queue", queue)
    sweep = sweep_of(tmp_path, jobs, in_slurm=True, queue_sec=-1.0)
    with caplog.at_level("INFO"):
        sweep.run(lambda _: submitted, num_at_a_time=2)
    told = [record.message for record in caplog.records if "jobs wait because" in record.message]
    assert len(told) == 1
    assert "PartitionTimeLimit" in told[0]
    assert "CLUSTER_" in told[0]


def test_jobs_are_submitted_without_the_variables_of_an_allocation(monkeypatch):
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "500")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm.conf")
    monkeypatch.setenv("SBATCH_ACCOUNT", "mine")
    with without_allocation():
        assert "SLURM_MEM_PER_CPU" not in os.environ
        assert os.environ["SLURM_CONF"] == "/etc/slurm.conf"
        assert os.environ["SBATCH_ACCOUNT"] == "mine"
    assert os.environ["SLURM_MEM_PER_CPU"] == "500"
