"""A run of two processes on the CPU, as a command starts it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from w2v2_mt.app.environment import PROJECT_FOLDER

SCRIPTS = {
    "train_speech": "run_speech.py",
    "train_speaker": "run_speaker.py",
    "train_mt_speaker_speech": "run_mt_speech_speaker.py",
}
SETTINGS = [
    "network.wav2vec_initially_frozen=true",
    "network.num_frozen_steps=1",
    "network/regularisation=wav2vec2_none",
    "optim/schedule=constant",
    "optim.algo.lr=0.001",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
]

Start = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def start(small_overrides) -> Start:
    def run_command(folder: Path, config_name: str, *overrides: str):
        arguments = small_overrides(config_name, *SETTINGS, f"hydra.run.dir={folder}", *overrides)
        return subprocess.run(
            [sys.executable, SCRIPTS[config_name], *arguments],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run_command


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("config_name", SCRIPTS)
def test_two_processes_train_and_test_as_one_that_takes_their_batches_in_turn(
    start, tmp_path, config_name
):
    two, one = tmp_path / "two", tmp_path / "one"
    result = start(two, config_name, "trainer.devices=2", "num_workers=1")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("step 4: ") == 1
    # The readers of two processes with one each are those of one process with two.
    result = start(one, config_name, "trainer.accumulate_grad_batches=2", "num_workers=2")
    assert result.returncode == 0, result.stderr
    states = state_of(two), state_of(one)
    for name, value in states[0].items():
        torch.testing.assert_close(value, states[1][name], rtol=1e-4, atol=1e-5, msg=name)
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (two, one)]
    for each in metrics:
        each.pop("tested_checkpoint")
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-5)
    for path in one.glob("transcripts_*.tsv"):
        assert sorted((two / path.name).read_text().splitlines()) == sorted(
            path.read_text().splitlines()
        )
    assert len(list(two.glob("scores_*.txt"))) == len(list(one.glob("scores_*.txt")))
