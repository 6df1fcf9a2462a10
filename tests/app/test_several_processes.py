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


def test_a_loss_that_is_no_number_ends_all_processes_with_the_keys_of_each(start_command, tmp_path):
    # With such a learning rate the first step leaves no number in the network.
    process = start_command(
        tmp_path, "train_speaker", "trainer.devices=2", "optim/algo=sgd", "optim.algo.lr=1e38",
        "optim/schedule=constant", "trainer.max_steps=4", "trainer.val_check_interval=4",
    )  # fmt: skip
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 1, output
    assert "the training loss of step" in errors
    content = json.loads((tmp_path / "non_finite_batch.json").read_text())
    first, second = (process["keys"]["batch"] for process in content["processes"])
    assert len(first) == len(second) == 4
    assert first != second
    assert not list(tmp_path.glob("checkpoints/*"))


def test_two_processes_test_learning_rates_and_train_as_without(run_command, tmp_path):
    settings = ["trainer.devices=2", "network.wav2vec_initially_frozen=false", "eval_model=false"]
    run_command(tmp_path / "without", "train_speaker", *settings)
    output = run_command(
        tmp_path / "after",
        "train_speaker",
        *settings,
        "run_lr_range_test=true",
        "lr_range_iterations=5",
    )
    assert output.count("learning-rate range test (") == 1
    states = state_of(tmp_path / "after"), state_of(tmp_path / "without")
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
