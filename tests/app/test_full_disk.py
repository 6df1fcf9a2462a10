"""A file system without room: one sentence, and the run goes on when there is room again."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers.warm_commands import WarmCommand

SETTINGS = ["trainer.max_steps=1_000_000", "optim/schedule=constant", "eval_model=false"]


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Room for a run with its checkpoints and little more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if shutil.which("mount") is None:
        pytest.skip("mount is not installed")
    mount = ["mount", "-t", "tmpfs", "-o", "size=16M", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def begun(start_command, small_disk) -> Callable[[int | str], WarmCommand]:
    def begin(step_limit: int | str) -> WarmCommand:
        return start_command(
            small_disk / "run", "train_speaker", *SETTINGS, f"trainer.step_limit={step_limit}"
        )

    return begin


def fill(disk: Path, *, num_bytes_left: int) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(file.tell() - num_bytes_left)
    return filler


def error_of(process: WarmCommand) -> str:
    """The last that a run says, which is to fail."""
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 1, output + errors
    assert "Traceback" not in output + errors
    (error,) = [line for line in errors.splitlines() if "Error" in line]
    return error


def saved_step(checkpoints: Path) -> int:
    return torch.load(checkpoints / "last.ckpt", weights_only=True)["global_step"]


def assert_ends_well(process: WarmCommand) -> str:
    output, errors = process.communicate(timeout=600)
    assert process.returncode == 0, output + errors
    return output


def test_a_checkpoint_for_which_there_is_no_room_ends_the_run_and_resumes_later(begun, small_disk):
    checkpoints = small_disk / "run" / "checkpoints"
    assert_ends_well(begun(2))
    files = {path.name: path.stat().st_size for path in checkpoints.iterdir()}
    filler = fill(small_disk, num_bytes_left=files["last.ckpt"] // 2)

    error = error_of(begun(4))
    assert error.startswith(f"ValueError: cannot save {checkpoints}/")
    assert "No space left on device" in error
    assert saved_step(checkpoints) == 2
    assert {path.name: path.stat().st_size for path in checkpoints.iterdir()} == files

    filler.unlink()
    assert "resuming from step 2 " in assert_ends_well(begun(4))
    assert saved_step(checkpoints) == 4


def test_a_disk_that_is_full_to_the_last_byte_ends_the_run_and_resumes_later(begun, small_disk):
    checkpoints = small_disk / "run" / "checkpoints"
    process = begun("null")
    # The second line is printed when what the first tells of was saved.
    steps = (line for line in process.stdout if line.startswith("step "))
    next(steps), next(steps)
    filler = fill(small_disk, num_bytes_left=0)
    error = error_of(process)
    assert "No space left on device" in error
    assert ". Make room for it and start the run again in its folder, " in error
    step = saved_step(checkpoints)
    assert step >= 2
    assert not list(checkpoints.glob("*.part"))

    filler.unlink()
    assert f"resuming from step {step} " in assert_ends_well(begun(step + 2))
    assert saved_step(checkpoints) == step + 2
