"""A sweep folder holds pickles of jobs; those of somebody else must not be read."""

import os
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra.core.utils import JobReturn, JobStatus

from w2v2_mt.app.submit_folder import new_submit_folder, read_results, result_file, write_result
from w2v2_mt.app.sweep_runner import PlannedJob, SweepRunner

SOMEBODY = 12_345
"""The number of another user."""


def pickled(command: str) -> bytes:
    """Return a pickle that runs a command when it is read."""
    return f"cos\nsystem\n(S{command!r}\ntR.".encode()


class Submitted:
    """A job of submitit whose folder has files of somebody else, and which never ran."""

    job_id, num_tasks = "7", 1

    def __init__(self, folder: Path) -> None:
        names = {
            "stdout": "7_0_log.out",
            "stderr": "7_0_log.err",
            "result_pickle": "7_0_result.pkl",
        }
        self.paths = SimpleNamespace(**{name: folder / file for name, file in names.items()})

    def task(self, number: int) -> "Submitted":
        return self

    def done(self) -> bool:
        return True


def test_the_result_of_a_job_is_not_unpickled(tmp_path, watched, traps):
    submitted = Submitted(tmp_path)
    submitted.paths.result_pickle.write_bytes(pickled(traps.command))
    job = PlannedJob(number=0, overrides=["seed=1"], folder=tmp_path / "0")
    sweep = SweepRunner(
        folder=tmp_path, jobs=[job], submitit_folder=tmp_path / "%j", in_slurm=False, poll_sec=0.0
    )
    with watched():
        sweep.run(lambda jobs: [submitted for _ in jobs], num_at_a_time=1)
    assert "it ended without a result" in job.error


@pytest.mark.parametrize("number_of_tasks", [1, 2])
def test_a_score_and_an_error_come_back_as_json(tmp_path, number_of_tasks):
    files = [tmp_path / f"{number}.json" for number in range(number_of_tasks)]
    for path in files:
        write_result(path, JobReturn(_return_value=0.25, status=JobStatus.COMPLETED))
    assert read_results(files, ["seed=1"]).return_value == 0.25
    # When one process fails, the others fail as well; the sentence for the user counts.
    for path, error in zip(
        reversed(files), (ValueError("no data"), RuntimeError("lost")), strict=False
    ):
        write_result(path, JobReturn(_return_value=error, status=JobStatus.FAILED))
    assert read_results(files, []) == "ValueError: no data"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"is_completed": true}', '{"is_completed": 1}'])
def test_a_result_that_is_not_one_of_a_job_is_a_sentence(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    assert read_results([path], []).startswith("its result cannot be read (")


def test_a_launch_uses_folders_that_nobody_could_prepare(tmp_path, traps):
    sweep = tmp_path / "sweep"
    for job_id in range(50):
        planted = sweep / ".submitit" / str(job_id)
        planted.mkdir(parents=True)
        for name in ("0_result.pkl", "submitted.pkl"):
            (planted / f"{job_id}_{name}").write_bytes(pickled(traps.command))
    patterns = {new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep) for _ in range(3)}
    assert len(patterns) == 3
    for pattern in patterns:
        assert pattern.parent == sweep / ".submitit"
        assert re.fullmatch(r"[0-9a-f]{16}-%j", pattern.name)
    assert (sweep / ".submitit").stat().st_mode & 0o777 == 0o700
    assert len(list((sweep / ".submitit").iterdir())) == 50  # Nothing of the user's is removed.


@pytest.mark.parametrize("which", ["", ".submitit"])
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757])
def test_a_folder_that_others_can_write_is_refused_with_the_remedy(tmp_path, which, mode):
    sweep = tmp_path / "sweep"
    (sweep / ".submitit").mkdir(parents=True)
    (sweep / which).chmod(mode)
    with pytest.raises(ValueError, match=r"can be written by other users.* `chmod go-w .*sweep"):
        new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep)
    (sweep / which).chmod(mode & ~0o022)
    new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep)


def test_others_may_not_remove_files_from_a_folder_with_the_sticky_bit(tmp_path):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    sweep.chmod(0o1777)
    new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep)


def test_a_folder_in_one_that_every_user_can_write_is_refused(tmp_path):
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(0o777)
    with pytest.raises(ValueError, match=r"shared can be written by every user.*chmod o-w"):
        new_submit_folder(parent / "sweep/.submitit/%j", sweep_folder=parent / "sweep")


@pytest.mark.parametrize("which", ["", ".submitit"])
def test_a_folder_of_another_user_is_refused(tmp_path, which, monkeypatch):
    sweep = tmp_path / "sweep"
    (sweep / ".submitit").mkdir(parents=True)
    if os.geteuid() == 0:
        os.chown(sweep / which, SOMEBODY, SOMEBODY)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: SOMEBODY)
    with pytest.raises(ValueError, match="belongs to another user"):
        new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep)


def test_a_link_to_another_folder_is_refused(tmp_path, traps):
    sweep = tmp_path / "sweep"
    sweep.mkdir()
    (sweep / ".submitit").symlink_to(traps.folder)
    with pytest.raises(ValueError, match="must not be a link"):
        new_submit_folder(sweep / ".submitit" / "%j", sweep_folder=sweep)
    traps.check()


def test_the_tables_of_a_sweep_do_not_follow_links(tmp_path, traps):
    for name in ("jobs.tsv", "errors.txt"):
        (tmp_path / name).symlink_to(traps.victim)
    job = PlannedJob(number=0, overrides=["seed=1"], folder=tmp_path / "0")
    sweep = SweepRunner(
        folder=tmp_path, jobs=[job], submitit_folder=tmp_path / "%j", in_slurm=False, poll_sec=0.0
    )
    sweep.run(lambda jobs: [Submitted(tmp_path) for _ in jobs], num_at_a_time=1)
    traps.check()
    assert (tmp_path / "jobs.tsv").read_text().startswith("number\tjob")
    assert "it ended without a result" in (tmp_path / "errors.txt").read_text()


def test_a_result_is_next_to_that_of_submitit(tmp_path):
    assert result_file(Submitted(tmp_path).paths) == tmp_path / "7_0_result.json"
