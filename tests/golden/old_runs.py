"""Runs and a sweep that an earlier version left unfinished, to be resumed by this one.

`old_runs.tar.xz` holds their folders: an archive, so that no renaming over the whole repository
reaches them. `old_runs.json` holds what the same runs logged where nothing interrupted them.
"""

import subprocess
import sys
import tarfile
from pathlib import Path

from tests.golden.run_commands import PROJECT_FOLDER, environment, run_commands
from tests.golden.runs import (
    BOTH,
    GOLDEN_FOLDER,
    SPEAKER,
    SPEECH,
    read_logged,
    read_metrics,
    small_command,
    write_data,
    write_json,
)
from tests.helpers.running import running

ARCHIVE_FILE = GOLDEN_FOLDER / "old_runs.tar.xz"
UNINTERRUPTED_FILE = GOLDEN_FOLDER / "old_runs.json"
NUM_STEPS_BEFORE = 4
"""Steps after which the runs were interrupted; job 1 of the sweep may have done another one."""

_SETTINGS = [
    "network.wav2vec_huggingface_id=tests/golden/architectures/smallest",
    "network/regularisation=wav2vec2_default_asr",
    "trainer.max_steps=8",
    "trainer.val_check_interval=2",
]
COMMANDS = {
    "speech": small_command(SPEECH, *_SETTINGS),
    "speaker": small_command(SPEAKER, *_SETTINGS),
    "both": small_command(BOTH, *_SETTINGS, "optim.loss.scale_method=dwa"),
}
"""What started the runs, and resumes them in their folders."""
SWEEP_COMMAND = [SPEAKER, "-m", *small_command(SPEAKER, *_SETTINGS, "seed=1,2")[1:]]
"""What started the sweep: job 0 is finished, job 1 was interrupted."""
SWEEP_JOBS = ["sweep/0", "sweep/1"]
_NOT_ARCHIVED = ("report", "tensorboard", ".hydra", "last.previous.ckpt")


def commands_in(folder: Path) -> list[list[str]]:
    """Return the commands of the runs and of the sweep with their folders below `folder`."""
    runs = [[*command, f"hydra.run.dir={folder / name}"] for name, command in COMMANDS.items()]
    return [*runs, [*SWEEP_COMMAND, f"hydra.sweep.dir={folder / 'sweep'}"]]


def extract_old_runs(folder: Path) -> None:
    """Write the folders of the old runs and of the sweep into `folder`."""
    with tarfile.open(ARCHIVE_FILE) as archive:
        archive.extractall(folder, filter="data")


def write_old_runs(folder: Path) -> None:
    """Perform the runs twice, interrupted and not, and write the archive and the json file."""
    write_data(folder / "data")
    places = {"data_folder": folder / "data", "log_folder": folder / "logs"}
    run_commands(commands_in(folder / "whole"), **places)
    uninterrupted = {
        name: {
            "logged": read_logged(folder / "whole" / name),
            "metrics": read_metrics(folder / "whole" / name),
        }
        for name in [*COMMANDS, *SWEEP_JOBS]
    }
    write_json(UNINTERRUPTED_FILE, uninterrupted)

    *runs, sweep = commands_in(folder / "parts")
    limit = [f"trainer.step_limit={NUM_STEPS_BEFORE}", "eval_model=false"]
    run_commands([[*command, *limit] for command in runs], **places)
    _interrupt_second_job(sweep, environment(**places))
    plan = folder / "parts" / "sweep" / "multirun.yaml"
    plan.write_text(plan.read_text().replace(str(PROJECT_FOLDER), "/project"))
    with tarfile.open(ARCHIVE_FILE, "w:xz") as archive:
        archive.add(folder / "parts", arcname=".", filter=_archived)


def _interrupt_second_job(command: list[str], variables: dict[str, str]) -> None:
    """Send SIGTERM to a sweep when its second job has done a few steps."""
    with running(
        [sys.executable, *command],
        cwd=PROJECT_FOLDER,
        env=variables,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        num_validated_jobs = 0
        for line in process.stdout:
            num_validated_jobs += line.startswith(f"step {NUM_STEPS_BEFORE}:")
            if num_validated_jobs == len(SWEEP_JOBS):
                process.terminate()
                break
        process.communicate()


def _archived(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Leave out what no run reads again, the checkpoints of job 0 among it."""
    path = Path(member.name)
    if path.name in _NOT_ARCHIVED or path == Path("sweep/0/checkpoints"):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member
