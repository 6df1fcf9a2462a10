"""The wait for a sweep: what is submitted when, and what is left when jobs break."""

import csv
import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus

from w2v2_mt.app import sweep as sweep_module
from w2v2_mt.app.process_group import Processes
from w2v2_mt.app.sweep import Sweep
from w2v2_mt.app.sweep_plan import PlannedJob

ONE_PROCESS = Processes(num_gpus=0, num_of_node=1, num_nodes=1)


class Submitted:
    """A job of submitit that ends as soon as it is submitted: with a result, an error, or none."""

    num_tasks = 1

    def __init__(self, folder: Path, job_id: str, outcome: object):
        self.job_id = job_id
        self._outcome = outcome
        self.paths = SimpleNamespace(
            stdout=folder / f"{job_id}.out",
            stderr=folder / f"{job_id}.err",
            result_pickle=folder / f"{job_id}.pkl",
        )
        self.paths.stdout.write_text(f"last line of {job_id}\n")
        if outcome is not None:
            self.paths.result_pickle.write_bytes(pickle.dumps(None))

    def task(self, number: int) -> "Submitted":
        return self

    def done(self) -> bool:
        return True

    def results(self) -> list[object]:
        if isinstance(self._outcome, RuntimeError):
            raise self._outcome
        return [self._outcome]


def completed(value: float) -> JobReturn:
    return JobReturn(_return_value=value, status=JobStatus.COMPLETED)


def failed(error: Exception) -> JobReturn:
    return JobReturn(_return_value=error, status=JobStatus.FAILED)


def planned(folder: Path, number: int, *, is_finished: bool = False) -> PlannedJob:
    return PlannedJob(
        number=number,
        overrides=[f"seed={number}", "hydra.launcher.qos=long"],
        folder=folder / str(number),
        processes=ONE_PROCESS,
        is_finished=is_finished,
        objective=None,
    )


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(sweep_module, "_LOOK_SEC", 0.0)


def sweep_of(folder: Path, jobs: list[PlannedJob], *, in_slurm: bool = False) -> Sweep:
    (folder / ".submitit").mkdir()
    return Sweep(folder, jobs, submitit_folder=folder / ".submitit" / "%j", in_slurm=in_slurm)


def submitter(folder: Path, outcomes: dict[int, object], calls: list[list[int]]):
    def submit(jobs):
        calls.append([job.number for job in jobs])
        return [Submitted(folder, f"7_{job.number}", outcomes[job.number]) for job in jobs]

    return submit


@pytest.mark.parametrize(
    ("in_slurm", "calls_expected"), [(False, [[0], [2], [3]]), (True, [[0, 2, 3]])]
)
def test_slurm_gets_all_jobs_at_once_and_this_machine_so_many_at_a_time(
    tmp_path, in_slurm, calls_expected
):
    jobs = [planned(tmp_path, number, is_finished=number == 1) for number in range(4)]
    sweep = sweep_of(tmp_path, jobs, in_slurm=in_slurm)
    calls: list[list[int]] = []
    outcomes = {number: completed(number / 10) for number in range(4)}
    sweep.wait(submitter(tmp_path, outcomes, calls), num_at_a_time=1)
    assert calls == calls_expected
    assert {number: job.return_value for number, job in sweep.results.items()} == {
        0: 0.0,
        2: 0.2,
        3: 0.3,
    }
    assert not sweep.report()
    with (tmp_path / "jobs.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert [row["job"] for row in rows] == ["7_0", "finished before", "7_2", "7_3"]
    assert [row["overrides"] for row in rows] == [f"seed={number}" for number in range(4)]


def test_each_way_to_fail_is_in_one_file_and_the_next_job_is_done(tmp_path):
    sweep = sweep_of(tmp_path, [planned(tmp_path, number) for number in range(4)])
    outcomes = {
        0: failed(ValueError("no such folder")),
        1: RuntimeError("trouble of the cluster\nmore of it"),
        2: None,
        3: completed(0.5),
    }
    sweep.wait(submitter(tmp_path, outcomes, []), num_at_a_time=1)
    assert sweep.report()
    assert sweep.results[3].return_value == 0.5
    errors = (tmp_path / "errors.txt").read_text()
    assert "== #0: seed=0\n" in errors
    assert "ValueError: no such folder" in errors
    assert "trouble of the cluster\nmore of it" in errors
    assert "it ended without a result" in errors
    assert "last line of 7_2" in errors
    assert "#3" not in errors


def test_a_sweep_whose_jobs_are_in_the_queue_is_not_begun_again(tmp_path, monkeypatch):
    sweep = sweep_of(tmp_path, [planned(tmp_path, 0)], in_slurm=True)
    commands = tmp_path / "commands"
    commands.mkdir()
    squeue = commands / "squeue"
    squeue.write_text("#!/bin/sh\necho 7_0 None\necho 7_1 Resources\necho 9 None\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    sweep.refuse_to_run_twice()
    (tmp_path / ".submitit" / "7_0").mkdir()
    with pytest.raises(ValueError, match=r"still in the queue as 7; .* scancel 7\.$"):
        sweep.refuse_to_run_twice()


def test_what_keeps_jobs_waiting_for_ever_is_told_once(tmp_path, monkeypatch, caplog):
    jobs = [planned(tmp_path, number) for number in range(2)]
    sweep = sweep_of(tmp_path, jobs, in_slurm=True)
    submitted = [Submitted(tmp_path, f"7_{number}", None) for number in range(2)]
    looks = []

    def queue() -> dict[str, str]:
        looks.append(1)
        if len(looks) == 3:  # Somebody has raised the limit of the partition.
            for job in submitted:
                job._outcome = completed(0.5)
                job.paths.result_pickle.touch()
        return {"7_0": "PartitionTimeLimit", "7_1": "JobArrayTaskLimit"}

    monkeypatch.setattr(sweep_module, "_QUEUE_SEC", -1.0)
    monkeypatch.setattr(sweep_module, "_queue", queue)
    with caplog.at_level("INFO"):
        sweep.wait(lambda _: submitted, num_at_a_time=2)
    told = [record.message for record in caplog.records if "jobs wait because" in record.message]
    assert len(told) == 1
    assert "PartitionTimeLimit" in told[0]
    assert "CLUSTER_" in told[0]
