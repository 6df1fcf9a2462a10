"""The documented way from a folder of recordings to a WER and an EER."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.documented_commands import DOCS_FOLDER, PROJECT_FOLDER, fenced_blocks
from tests.helpers.recordings import write_csv, write_recordings

PAGE = DOCS_FOLDER / "own_data.md"
HEADING = "## From a folder to a WER and an EER\n"
PROGRAMS = ("run_speech.py", "run_speaker.py", "run_mt_speech_speaker.py", "scripts")
ADDED = ("hydra.run.dir=", "+debug=smoke")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The programs of the project, and 30 recordings in three formats and two rates."""
    for name in PROGRAMS:
        (tmp_path / name).symlink_to(PROJECT_FOLDER / name)
    rows = write_recordings(tmp_path / "recordings")
    write_csv(tmp_path / "recordings" / "mine.csv", rows)
    return tmp_path


def run(commands: str, *, folder: Path) -> str:
    """In a shell that ends at the first command that fails; gives what they print."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DATA_FOLDER"},
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "LOG_FOLDER": str(folder / "logs"),
        "TEMP_FOLDER": str(folder / "temp"),
        "USE_WANDB": "false",
        "NUM_GPUS": "0",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    result = subprocess.run(
        ["bash", "-eu", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert result.returncode == 0, result.stdout
    return result.stdout


def without_additions(command: str, folder: Path) -> list[str]:
    """The words of a command without what the page adds to those that are printed."""
    words = shlex.split(command.replace("$PWD", str(folder)))
    return [word for word in words if not word.startswith(ADDED)]


def test_thirty_recordings_become_a_wer_and_an_eer(folder: Path) -> None:
    section = PAGE.read_text(encoding="utf-8").split(HEADING)[1].split("\n## ")[0]
    blocks = fenced_blocks(section, "bash")
    outputs = [run(block, folder=folder) for block in blocks]

    prepared = next(output for output in outputs if "Train in the folder" in output)
    assert re.search(r"train +10 +2 .*\nval +10 +2 .*\ntest +10 +2 ", prepared)
    printed = [line for line in prepared.splitlines() if line.startswith("DATA_FOLDER=")]
    documented = [
        command
        for block in blocks
        if "+debug=smoke" in block
        for command in block.replace("\\\n", " ").split("\n\n")
    ]
    assert [shlex.split(command) for command in printed] == [
        without_additions(command, folder) for command in documented
    ]
    metrics = {
        path.parent.name: json.loads(path.read_text())
        for path in sorted((folder / "runs").glob("*/metrics.json"))
    }
    assert "hydra.run.dir=runs/speech`" in section  # to train after the smoke runs
    assert {*metrics} == {"joint_smoke", "speaker_smoke", "speech_smoke"}
    for name, rates in (
        ("speech_smoke", ["test_wer_mine", "test_cer_mine"]),
        ("speaker_smoke", ["test_eer_mine", "test_eer_val"]),
        ("joint_smoke", ["test_wer_mine", "test_eer_mine"]),
    ):
        assert all(metrics[name][rate] >= 0 for rate in rates)
        assert (folder / "runs" / name / "report" / "index.html").exists()
    assert metrics["joint_smoke"]["val_score"] >= 0
    assert len(outputs[-1].splitlines()) == 4
