"""What breaks while a run goes on: one sentence, and nothing that was saved is lost."""

import errno
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.reductions import reduce_storage

from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.training.user_errors import user_errors


@pytest.fixture
def data(data_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(data_folder, tmp_path / "data"))


@pytest.fixture
def begun(small_overrides, data, tmp_path) -> Callable[..., WarmCommand]:
    """A run that would take very long, with one process that reads."""

    def begin(step_limit: int | str = "null") -> WarmCommand:
        arguments = small_overrides(
            "train_speech",
            f"data_folder={data}",
            f"hydra.run.dir={tmp_path / 'run'}",
            "num_workers=1",
            "trainer.max_steps=1_000_000",
            "optim/schedule=constant",
            f"trainer.step_limit={step_limit}",
            "eval_model=false",
        )
        return WarmCommand(
            ["run_speech.py", *arguments],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    return begin


@contextmanager
def after_a_checkpoint(process: WarmCommand) -> Iterator[None]:
    with process:
        try:
            # The second line is printed when what the first tells of was saved.
            steps = (line for line in process.stdout if line.startswith("step "))
            next(steps), next(steps)
            yield
        finally:
            process.kill()


def error_of(process: WarmCommand) -> str:
    """Return the error of a run that fails."""
    for _ in process.stdout:
        pass
    _, text = process.communicate()
    assert process.returncode == 1, text
    assert "Traceback" not in text
    errors = [line for line in text.splitlines() if "Error" in line]
    assert len(errors) == 1, text
    return errors[0]


def saved_step(folder: Path) -> int:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]


def assert_resumes(begun: Callable[..., WarmCommand], folder: Path) -> None:
    step = saved_step(folder)
    assert step >= 2
    with begun(step_limit=step + 2) as process:
        output, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f"resuming from step {step} " in output
    assert saved_step(folder) == step + 2


def workers_of(process: WarmCommand) -> list[int]:
    """The forked children, which have its command line."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    return [
        int(child) for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == command
    ]


def test_a_run_whose_worker_was_killed_says_so_and_can_be_resumed(begun, tmp_path):
    process = begun()
    with after_a_checkpoint(process):
        os.kill(workers_of(process)[0], signal.SIGKILL)
        error = error_of(process)
    # Its pipe may break, or a batch be late, before PyTorch notices its death.
    ends = "is killed by signal: Killed|has ended|exited unexpectedly"
    assert re.match(f"ValueError: a DataLoader worker ({ends}), which ", error)
    assert error.endswith("in its folder, where it resumes from its last checkpoint.")
    assert_resumes(begun, tmp_path / "run")


def test_a_run_whose_shard_was_deleted_names_it_and_can_be_resumed(begun, data, tmp_path):
    shard = sorted((data / "librispeech_shards" / "train_clean_100").glob("*.tar"))[0]
    aside = tmp_path / "aside.tar"
    process = begun()
    with after_a_checkpoint(process):
        shard.rename(aside)
        error = error_of(process)
    assert error.startswith(f"ValueError: shard {shard} cannot be read (No such file or directory)")
    aside.rename(shard)
    assert_resumes(begun, tmp_path / "run")


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (
            "DataLoader worker (pid 12) is killed by signal: Killed. ",
            "is killed by signal: Killed,",
        ),
        ("DataLoader worker (pid(s) 12, 13) exited unexpectedly", "exited unexpectedly,"),
    ],
)
def test_the_death_of_a_worker_is_one_sentence(message, told):
    expected = pytest.raises(ValueError, match=f"^a DataLoader worker {told}")
    with expected, user_errors():
        raise RuntimeError(message)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence(number):
    message = r"^a file of the run cannot be written \(.*'metrics\.csv'\)\. Make room for it"
    with pytest.raises(ValueError, match=message), user_errors():
        raise OSError(number, os.strerror(number), "metrics.csv")


def test_another_error_of_a_file_stays_what_it_is():
    with pytest.raises(PermissionError), user_errors():
        raise PermissionError(errno.EACCES, "Permission denied", "metrics.csv")


def test_an_error_of_the_program_stays_what_it_is():
    with pytest.raises(RuntimeError, match="^mat1 and mat2"), user_errors():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


def test_the_death_of_a_worker_during_another_error_is_reported():
    expected = pytest.raises(ValueError, match="^a DataLoader worker exited unexpectedly,")
    with expected, user_errors():
        try:
            raise RuntimeError("DataLoader worker (pid 12) exited unexpectedly")
        except RuntimeError as error:
            raise ValueError("cannot save last.ckpt") from error


def test_a_batch_of_a_dead_worker_is_the_same_sentence():
    # Its memory is fetched through a socket whose other end is gone.
    rebuild, arguments = reduce_storage(torch.ones(3).untyped_storage())
    handle = arguments[1]
    handle._id = ("/nowhere", handle._id[1])
    with (
        pytest.raises(ValueError, match="^a DataLoader worker has ended, which happens if"),
        user_errors(),
    ):
        rebuild(*arguments)
