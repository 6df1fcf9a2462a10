"""The documented way from a checkpoint to reports, predictions and an exported model."""

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.documented_commands import DOCS_FOLDER, PROJECT_FOLDER, fenced_blocks

PAGE = DOCS_FOLDER / "reports.md"
HEADING = "## The whole way\n"
PROGRAMS = ("run_mt_speech_speaker.py", "scripts")


@pytest.fixture
def demo(smoke_data_folder, tmp_path):
    """A folder in which the walk finds what the demo leaves, with a network that learned little."""
    for name in PROGRAMS:
        (tmp_path / name).symlink_to(PROJECT_FOLDER / name)
    folder = tmp_path / "demo"
    folder.mkdir()
    (folder / "data").symlink_to(smoke_data_folder)
    training = "run_mt_speech_speaker.py +experiment=demo data=mt_vox1_libri hydra.run.dir=demo/run"
    run(
        f"DATA_FOLDER=demo/data LOG_FOLDER=demo/logs python {training} +debug=smoke",
        folder=tmp_path,
    )
    return folder


def run(commands, *, folder):
    """In a shell that ends at the first command that fails; gives what they print."""
    environment = {
        **os.environ,
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
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


def test_every_command_of_the_walk_leaves_what_it_is_for(demo):
    section = PAGE.read_text(encoding="utf-8").split(HEADING)[1]
    (commands,) = fenced_blocks(section, "bash")
    printed = run(commands, folder=demo.parent)

    tested = json.loads((demo / "tested" / "metrics.json").read_text())
    assert {"test_eer_o", "test_eer_o_1s", "test_wer_clean", "test_wer_other"} <= tested.keys()
    for folder in ("tested", "sweep"):
        assert (demo / folder / "report" / "index.html").exists()
    jobs = [line.replace("│", " ").split()[:4] for line in printed.splitlines()]
    for number, (lr, method) in enumerate(
        (lr, method) for lr in ("0.0001", "0.001") for method in ("static", "min")
    ):
        assert [str(number), "done", lr, method] in jobs
    assert "B against A, on what both were tested on" in printed
    heard = [json.loads(line) for line in (demo / "heard.jsonl").read_text().splitlines()]
    assert len(heard) == 4
    assert all("words" in each and "transcript" in each for each in heard)
    assert (demo / "heard.npz").exists()
    assert (demo / "exported" / "config.json").exists()
    assert (demo / "model.onnx").exists()
