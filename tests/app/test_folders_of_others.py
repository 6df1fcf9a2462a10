"""Commands that meet a folder of another user end with one sentence that names the file."""

import os
import shutil

import pytest

from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.settings.environment import PROJECT_FOLDER

SOMEBODY = 65534
MODES = {"closed": 0o700, "visible": 0o755}


@pytest.fixture
def of_somebody(tmp_path):
    """Makes folders of another user, one that is closed and one that can be read."""
    if os.geteuid() != 0:
        pytest.skip("only the superuser can make a folder of somebody else")
    for name, mode in MODES.items():
        folder = tmp_path / name
        (folder / "checkpoints").mkdir(parents=True)
        (folder / "config.yaml").write_text("fit_model: true\n")
        (folder / "checkpoints" / "best.ckpt").write_bytes(b"")
        for path in (folder / "config.yaml", folder / "checkpoints", folder):
            os.chown(path, SOMEBODY, SOMEBODY)
        folder.chmod(mode)
    return tmp_path


@pytest.fixture
def run_as_user():
    """Runs a script as a user for whom permissions count; gives the one line of its error."""

    def run(*arguments):
        command = WarmCommand(
            ["tests/helpers/as_ordinary_user.py", *map(str, arguments)],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
        )
        output, errors = command.communicate(timeout=300)
        assert command.returncode == 1, output + errors
        # Hydra names the settings of the first job of a sweep that failed.
        line, *others = errors.splitlines()
        assert [other for other in others if not other.startswith("Error executing job")] == []
        return line

    return run


@pytest.mark.parametrize("name", MODES)
@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_command_does_not_write_to_a_folder_of_another_user(
    run_as_user, small_overrides, of_somebody, kind, name
):
    folder = of_somebody / name
    mode = ["-m"] if kind == "sweep" else []
    place = f"hydra.{kind}.dir={folder}"
    error = run_as_user("run_speaker.py", *mode, *small_overrides("train_speaker", place))
    assert error.startswith(f"PermissionError: access to {folder}/")
    assert "is denied (Permission denied). Change its permissions or choose another" in error


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_closed_folder_is_not_reported(run_as_user, of_somebody, kind):
    folder = of_somebody / "closed"
    error = run_as_user(f"scripts/report_{kind}.py", folder)
    assert error.startswith(f"Error: access to {folder}")
    assert "is denied" in error


def test_a_report_is_not_written_to_a_folder_of_another_user(run_as_user, of_somebody):
    error = run_as_user("scripts/report_run.py", of_somebody / "visible")
    assert error.startswith(f"Error: access to {of_somebody}/visible/report")
    assert "is denied" in error


@pytest.mark.parametrize("is_sweep", [False, True])
def test_a_checkpoint_in_a_closed_folder_is_one_sentence(
    run_as_user, small_overrides, of_somebody, tmp_path, is_sweep
):
    checkpoint = of_somebody / "closed" / "checkpoints" / "best.ckpt"
    kind, mode = ("sweep", ["-m"]) if is_sweep else ("run", [])
    error = run_as_user(
        "run_speaker.py", *mode,
        *small_overrides(
            "train_speaker", f"hydra.{kind}.dir={tmp_path / 'mine'}",
            f"load_network_from_checkpoint={checkpoint}",
        ),
    )  # fmt: skip
    assert error.startswith(f"PermissionError: access to {checkpoint} is denied")
    run = tmp_path / "mine" / "0" if is_sweep else tmp_path / "mine"
    assert "PermissionError" in (run / "error.txt").read_text()


def test_closed_shards_are_one_sentence(
    run_as_user, small_overrides, of_somebody, data_folder, tmp_path
):
    folder = tmp_path / "data"
    shutil.copytree(data_folder, folder)
    closed = folder / "vox2_shards" / "train"
    os.chown(closed, SOMEBODY, SOMEBODY)
    closed.chmod(0o700)
    error = run_as_user(
        "run_speaker.py",
        *small_overrides(
            "train_speaker", f"hydra.run.dir={tmp_path / 'mine'}", f"data_folder={folder}"
        ),
    )
    assert error.startswith(f"PermissionError: access to {closed}")
    assert "DATA_FOLDER" in error
