"""A run of two processes on the CPU, as a command starts it."""

import json
from pathlib import Path

import pytest
import torch

from tests.app.conftest import SCRIPTS

SETTINGS = [
    "network.wav2vec_initially_frozen=true",
    "network.num_frozen_steps=1",
    "network/regularisation=wav2vec2_none",
    "optim/schedule=constant",
    "optim.algo.lr=0.001",
    "trainer.max_steps=4",
    "trainer.val_check_interval=2",
]


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize("config_name", SCRIPTS)
def test_two_processes_train_and_test_as_one_that_takes_their_batches_in_turn(
    run_command, tmp_path, config_name
):
    two, one = tmp_path / "two", tmp_path / "one"
    output = run_command(two, config_name, *SETTINGS, "trainer.devices=2", "num_workers=1")
    assert output.count("step 4: ") == 1
    # The readers of two processes with one each are those of one process with two.
    in_turn = ["trainer.accumulate_grad_batches=2", "num_workers=2"]
    run_command(one, config_name, *SETTINGS, *in_turn)
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
