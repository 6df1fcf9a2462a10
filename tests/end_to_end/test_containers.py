"""Commands in surroundings as in a container: a user without a name and a home."""

import os
import subprocess
import sys

import pytest

from tests.helpers.documented_commands import PROJECT_FOLDER

UNKNOWN_USER = ("unshare", "--user", "--map-user=12345", "--map-group=12345")


@pytest.fixture
def as_unknown_user():
    """Runs a script as a user that no database knows, without HOME; gives the finished process."""
    if subprocess.run([*UNKNOWN_USER, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no user namespaces")

    def run(script, *arguments, **variables):
        left_out = ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "MPLCONFIGDIR")
        kept = {name: value for name, value in os.environ.items() if name not in left_out}
        command = [*UNKNOWN_USER, sys.executable, str(PROJECT_FOLDER / script), *arguments]
        environment = {**kept, "OMP_NUM_THREADS": "1", **variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


def test_a_user_without_name_and_home_trains_and_gets_a_report(
    as_unknown_user, smoke_data_folder, tmp_path
):
    finished = as_unknown_user(
        "run_speaker.py", "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke",
        f"hydra.run.dir={tmp_path / 'run'}", "speaker.dataloader.train_batch_size=4",
        "use_wandb=true", WANDB_MODE="offline", DATA_FOLDER=str(smoke_data_folder), NUM_GPUS="0",
        LOG_FOLDER=str(tmp_path / "logs"), TEMP_FOLDER=str(tmp_path / "temp"),
        TMPDIR=str(tmp_path),
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "run" / "report" / "index.html").exists()
    assert not list(tmp_path.glob("home-*"))
    reported = as_unknown_user("scripts/report_run.py", str(tmp_path / "run"))
    assert reported.returncode == 0, reported.stderr


@pytest.fixture
def run_with_worker(smoke_data_folder, tmp_path):
    """Runs a command with a DataLoader worker, after a prefix; gives the finished process."""

    def run(*prefix, **variables):
        command = [
            *prefix, sys.executable, str(PROJECT_FOLDER / "run_speaker.py"),
            "+experiment=baseline_speaker_mean", "data=voxceleb1", "+debug=smoke", "num_workers=1",
            f"hydra.run.dir={tmp_path / 'run'}", f"log_folder={tmp_path}",
            f"data_folder={smoke_data_folder}",
        ]  # fmt: skip
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "NUM_GPUS": "0", **variables}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run


def test_workers_without_shared_memory_end_the_run_with_the_remedy(run_with_worker):
    mount = 'ulimit -n 110; mount -t tmpfs -o size=64k tmpfs /dev/shm && exec "$@"'
    private = ("unshare", "--user", "--map-root-user", "--mount", "sh", "-c", mount, "sh")
    if subprocess.run([*private, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no private mounts")
    finished = run_with_worker(*private)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    # Two batches wait and two are in use, of 66 chunks of 3 s, and of 60 s in an evaluation.
    before_training = finished.stdout.partition("steps: ")[0]
    assert (
        "Note: DataLoader workers may need 63 MiB of shared memory, but /dev/shm has 0 MiB left."
    ) in before_training
    assert "open files, but this process may open 110. Raise the limit with" in before_training
    assert finished.stderr.startswith("ValueError: a batch of ")
    assert "--shm-size=8g" in finished.stderr


def test_a_path_of_temporary_files_that_is_too_long_for_workers_is_one_sentence(
    run_with_worker, tmp_path
):
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    finished = run_with_worker(TMPDIR=str(folder))
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert finished.stderr.startswith(
        f"ValueError: the folder of temporary files ({folder}) cannot"
    )
    assert len(finished.stderr.splitlines()) == 1
