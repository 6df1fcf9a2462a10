"""A loss that is not finite, in short runs of each kind."""

import csv
import json
import logging
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from w2v2_mt.app.run import run
from w2v2_mt.core.batches import WaveformBatch

CONFIG_NAMES = ["train_speech", "train_speaker", "train_mt_speaker_speech"]
STEPS = [
    "trainer.max_steps=4",
    "trainer.val_check_interval=4",
    "network.wav2vec_initially_frozen=false",
    "eval_model=false",
]


class Spoiling(pl.Callback):
    """A callback that puts a NaN into batches and keeps their keys and the weights of each step."""

    def __init__(self, *batch_numbers: int):
        self.batch_numbers = batch_numbers
        self.keys: dict[str, list[str]] = {}
        self.states: list[dict[str, torch.Tensor]] = []
        self.error = ""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.states.append({name: each.clone() for name, each in pl_module.state_dict().items()})
        if batch_idx in self.batch_numbers:
            batches = {"batch": batch} if isinstance(batch, WaveformBatch) else batch
            self.keys = {name: list(each.keys) for name, each in batches.items()}
            for each in batches.values():
                each.waveforms[0, 100] = torch.nan


@pytest.fixture
def start(small_config):
    def start_run(
        folder: Path, config_name: str, *overrides: str, batch_number: int | list[int]
    ) -> Spoiling:
        numbers = batch_number if isinstance(batch_number, list) else [batch_number]
        spoiling = Spoiling(*numbers)
        config = small_config(config_name, *STEPS, *overrides)
        try:
            run(
                config,
                config_name=config_name,
                folder=folder,
                overrides=overrides,
                extra_callbacks=[spoiling],
            )
        except ValueError as error:
            spoiling.error = str(error)
        return spoiling

    return start_run


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("config_name", CONFIG_NAMES)
@pytest.mark.parametrize("batch_number", [1, 3])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_the_batch(
    start, tmp_path, config_name, batch_number
):
    spoiling = start(tmp_path, config_name, batch_number=batch_number)
    step = batch_number + 1
    assert spoiling.error.startswith(f"the training loss of step {step} is not finite (loss nan")
    assert "trainer.skip_non_finite=true" in spoiling.error
    assert len(spoiling.error.splitlines()) == 1
    content = json.loads((tmp_path / "non_finite_batch.json").read_text())
    assert content["step"] == step
    (process,) = content["processes"]
    assert process["keys"] == spoiling.keys
    assert process["losses"]["loss"] == "nan"
    if config_name == "train_mt_speaker_speech":
        assert set(process["losses"]) == {"loss", "speech", "speaker"}
    # Neither validated nor saved with the weights that it spoiled, not even the last step.
    assert not list(tmp_path.glob("checkpoints/*"))


def test_weights_after_a_nonfinite_loss_are_not_saved_between_validations(start, tmp_path):
    spoiling = start(
        tmp_path,
        "train_speech",
        "callbacks.last_checkpoint.save_every_minutes=1e-9",
        batch_number=2,
    )
    assert "step 3 is not finite" in spoiling.error
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    weights = saved["state_dict"].values()
    assert all(weight.isfinite().all() for weight in weights if weight.is_floating_point())


@pytest.mark.parametrize(
    ("config_name", "settings"),
    [
        ("train_speech", []),
        ("train_speaker", ["trainer.gradient_clip_val=1.0"]),
        ("train_mt_speaker_speech", ["optim.loss.scale_method=dwa"]),
        ("train_mt_speaker_speech", ["optim.loss.scale_method=gradnorm"]),
    ],
)
def test_a_step_with_a_nonfinite_loss_can_be_skipped(
    start, tmp_path, caplog, config_name, settings
):
    with caplog.at_level(logging.WARNING):
        spoiling = start(
            tmp_path,
            config_name,
            "trainer.skip_non_finite=true",
            "optim/schedule=constant",
            "optim/algo=adam",
            "optim.algo.weight_decay=0.1",
            *settings,
            batch_number=1,
        )
    assert "step 2 is not finite" in caplog.text
    before, after, later = spoiling.states[1:4]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(after[name], later[name]) for name in after)
    counts = [row["train_num_skipped_steps"] for row in rows(tmp_path)]
    assert [float(count) for count in counts if count] == [0, 1, 1, 1]
    losses = [float(row["train_loss"]) for row in rows(tmp_path) if row["train_loss"]]
    assert torch.tensor(losses).isfinite().tolist() == [True, False, True, True]
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 4
    assert json.loads((tmp_path / "non_finite_batch.json").read_text())["step"] == 2


def test_too_many_skipped_steps_in_a_row_end_the_run(start, tmp_path, monkeypatch):
    monkeypatch.setattr("w2v2_mt.training.callbacks.nonfinite_losses.MAX_SKIPPED_IN_A_ROW", 2)
    options = ("train_speech", "trainer.skip_non_finite=true", "trainer.max_steps=8")
    apart = start(tmp_path / "apart", *options, batch_number=[0, 2, 4])
    assert apart.error == ""
    in_a_row = start(tmp_path / "row", *options, batch_number=[0, 2, 3])
    assert "step 4 is not finite" in in_a_row.error
    assert "2 steps in a row were skipped" in in_a_row.error


def test_a_step_of_two_batches_is_skipped_whole(start, tmp_path):
    spoiling = start(
        tmp_path,
        "train_speech",
        "trainer.skip_non_finite=true",
        "trainer.accumulate_grad_batches=2",
        "optim/schedule=constant",
        batch_number=2,
    )
    before, after, later = (spoiling.states[number] for number in (2, 4, 6))
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(after[name], later[name]) for name in after)
    content = json.loads((tmp_path / "non_finite_batch.json").read_text())
    assert content["step"] == 2
    assert content["processes"][0]["keys"] == spoiling.keys
