"""A run of two processes on the CPU, as a command starts it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.run_fixtures import SCRIPTS
from w2v2_mt.settings.environment import PROJECT_FOLDER

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


def test_a_nonfinite_loss_ends_all_processes_with_the_keys_of_each(start_command, tmp_path):
    # With such a learning rate the first step leaves no number in the network.
    process = start_command(
        tmp_path, "train_speaker", "trainer.devices=2", "optim/algo=sgd", "optim.algo.lr=1e38",
        "optim/schedule=constant", "trainer.max_steps=4", "trainer.val_check_interval=4",
    )  # fmt: skip
    output, errors = process.communicate(timeout=600)
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


@pytest.fixture
def begin_with_a_nan_in_the_second_process(small_overrides, tmp_path):
    """Starts a run of two processes, of which one alone gets a NaN into its second batch."""

    def begin(config_name: str, *more: str) -> subprocess.Popen:
        arguments = small_overrides(
            config_name,
            f"hydra.run.dir={tmp_path}",
            "trainer.devices=2",
            "trainer.max_steps=4",
            "trainer.val_check_interval=4",
            "network.wav2vec_initially_frozen=false",
            "optim/schedule=constant",
            "eval_model=false",
            *more,
        )
        return subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.spoiled_command", config_name, *arguments],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return begin


def said_by(process: subprocess.Popen) -> tuple[str, str]:
    """All that its processes print until the last of them has ended."""
    try:
        return process.communicate(timeout=600)
    finally:
        process.kill()  # The others end with it, where they wait for each other for ever.


def seen_by_both(folder: Path) -> list[dict[str, Any]]:
    return [torch.load(folder / f"seen_{rank}.pt", weights_only=True) for rank in range(2)]


def assert_names_the_batches_of_both(folder: Path) -> None:
    content = json.loads((folder / "non_finite_batch.json").read_text())
    assert content["step"] == 2
    assert [each["keys"] for each in content["processes"]] == [
        each["keys"] for each in seen_by_both(folder)
    ]
    losses = [each["losses"]["loss"] for each in content["processes"]]
    assert isinstance(losses[0], float)
    assert losses[1] == "nan"


def test_a_nonfinite_loss_in_one_process_ends_both(
    begin_with_a_nan_in_the_second_process, tmp_path
):
    process = begin_with_a_nan_in_the_second_process("train_speaker")
    output, errors = said_by(process)
    assert process.returncode == 1, output + errors
    assert "Traceback" not in output + errors
    (error,) = [line for line in errors.splitlines() if "Error" in line]
    assert error.startswith("ValueError: the training loss of step 2 is not finite (loss nan")
    assert_names_the_batches_of_both(tmp_path)
    assert not list(tmp_path.glob("checkpoints/*"))


@pytest.mark.parametrize(
    ("config_name", "settings"),
    [
        ("train_speaker", []),
        ("train_mt_speaker_speech", ["optim.loss.scale_method=gradnorm"]),
    ],
)
def test_a_nonfinite_loss_in_one_process_is_skipped_by_both(
    begin_with_a_nan_in_the_second_process, tmp_path, config_name, settings
):
    process = begin_with_a_nan_in_the_second_process(
        config_name,
        "trainer.skip_non_finite=true",
        "optim/algo=adam",
        "optim.algo.weight_decay=0.1",
        *settings,
    )
    output, errors = said_by(process)
    assert process.returncode == 0, output + errors
    assert (output + errors).count("the step is skipped, after 0 others.") == 1
    assert "sync_dist" not in output + errors
    assert_names_the_batches_of_both(tmp_path)
    first, second = (seen["states"] for seen in seen_by_both(tmp_path))
    assert len(first) == len(second) == 5
    for of_first, of_second in zip(first, second, strict=True):
        assert all(torch.equal(of_first[name], of_second[name]) for name in of_first)
    before, after, later, end = first[1:]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(after[name], later[name]) for name in after)
    assert all(value.isfinite().all() for value in end.values() if value.is_floating_point())
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
