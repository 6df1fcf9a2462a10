"""Resume runs and a sweep that an earlier version left unfinished."""

import json
from pathlib import Path

import pytest

from tests.golden.old_runs import (
    COMMANDS,
    NUM_STEPS_BEFORE,
    SWEEP_JOBS,
    UNINTERRUPTED_FILE,
    commands_in,
    extract_old_runs,
)
from tests.golden.run_commands import run_commands
from tests.golden.runs import differing_values, read_logged, read_metrics, write_data

UNINTERRUPTED = json.loads(UNINTERRUPTED_FILE.read_text())
FINISHED_JOB, INTERRUPTED_JOB = SWEEP_JOBS
RESUMED = [*COMMANDS, INTERRUPTED_JOB]
FIRST_VALIDATION, LAST_VALIDATION = "\nstep 2:", "\nstep 8:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the old runs and of the old sweep."""
    folder = tmp_path_factory.mktemp("old_runs")
    extract_old_runs(folder)
    return folder


@pytest.fixture(scope="module")
def files_of_finished_job(folder) -> dict[Path, bytes]:
    """What the finished job of the sweep left."""
    paths = (folder / FINISHED_JOB).iterdir()
    return {path: path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def outputs(folder, files_of_finished_job) -> dict[str, str]:
    """What is printed by the report of the sweep, and then by each command that resumes."""
    write_data(folder / "data")
    report = ["scripts/report_sweep.py", str(folder / "sweep")]
    printed = run_commands(
        [report, *commands_in(folder)], data_folder=folder / "data", log_folder=folder / "logs"
    )
    return dict(zip(["report", *COMMANDS, INTERRUPTED_JOB], printed, strict=True))


@pytest.mark.parametrize("name", RESUMED)
def test_an_old_run_is_resumed_from_its_last_checkpoint(outputs, name):
    assert FIRST_VALIDATION not in outputs[name]
    assert outputs[name].count(LAST_VALIDATION) == 1, outputs[name]


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_old_run_logs_what_the_uninterrupted_one_did(folder, outputs, name):
    expected = UNINTERRUPTED[name]["logged"]
    assert len(expected["train_loss"]) == 2 * NUM_STEPS_BEFORE
    assert (folder / name / "report").exists(), outputs[name]
    assert differing_values(expected, read_logged(folder / name)) == {}


@pytest.mark.parametrize("name", RESUMED)
def test_a_resumed_old_run_ends_with_the_metrics_of_the_uninterrupted_one(folder, outputs, name):
    assert (folder / name / "report").exists(), outputs[name]
    expected = UNINTERRUPTED[name]["metrics"]
    assert differing_values(expected, read_metrics(folder / name)) == {}


def test_an_old_sweep_is_reported(folder, outputs):
    error_rate = UNINTERRUPTED[FINISHED_JOB]["metrics"]["val_eer"]
    assert f"{100 * error_rate:.2f}" in outputs["report"]
    assert (folder / "sweep" / "report" / "index.html").is_file()


def test_the_finished_job_of_an_old_sweep_is_not_run_again(outputs, files_of_finished_job):
    assert files_of_finished_job
    assert outputs[INTERRUPTED_JOB].count(LAST_VALIDATION) == 1
    assert {path: path.read_bytes() for path in files_of_finished_job} == files_of_finished_job
