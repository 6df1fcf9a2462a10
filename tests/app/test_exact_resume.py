"""A run that is stopped and started again is, to the last bit, the run that was not stopped."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from tests.helpers.left_in_folder import metrics_of, rows_of
from w2v2_mt.app.run import run

STEPS = ["trainer.max_steps=8", "trainer.val_check_interval=2"]
CONFIG_NAMES = ["train_speech", "train_speaker", "train_mt_speaker_speech"]


class KilledError(Exception):
    pass


class KilledAfter(pl.Callback):
    """Ends a run in the middle of things."""

    def __init__(self, num_batches: int):
        self.num_batches = num_batches

    def on_train_batch_end(self, *_: Any) -> None:
        self.num_batches -= 1
        if self.num_batches == 0:
            raise KilledError


@pytest.fixture
def start(small_config):
    def start_run(folder: Path, config_name: str, *overrides: str, killed_after: int = 0) -> None:
        config = small_config(config_name, *STEPS, *overrides)
        run(
            config,
            config_name=config_name,
            folder=folder,
            overrides=overrides,
            extra_callbacks=[KilledAfter(killed_after)] if killed_after else [],
        )

    return start_run


@pytest.mark.parametrize("config_name", CONFIG_NAMES)
@pytest.mark.parametrize(("num_workers", "killed_after"), [(0, 3), (0, 6), (1, 5)])
def test_a_run_that_was_killed_resumes_as_if_it_had_not_been(
    start, tmp_path, config_name, num_workers, killed_after
):
    settings = [
        # Drop-out, masks and dropped layers draw at every step; a frozen trunk would hide it.
        "network.wav2vec_initially_frozen=false",
        "network/regularisation=wav2vec2_default_asr",
        f"num_workers={num_workers}",
    ]
    start(tmp_path / "whole", config_name, *settings)
    with pytest.raises(KilledError):
        start(tmp_path / "parts", config_name, *settings, killed_after=killed_after)
    start(tmp_path / "parts", config_name, *settings)
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")
    weights = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for name in ("parts", "whole")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_a_run_that_was_killed_in_its_test_writes_the_test_where_the_whole_run_does(
    start, tmp_path
):
    start(tmp_path / "whole", "train_speaker")
    start(tmp_path / "parts", "train_speaker", "eval_model=false")
    start(tmp_path / "parts", "train_speaker")
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    assert rows_of(tmp_path / "whole")[-1]["step"] == "8"


def test_batches_that_wait_for_a_step_and_a_schedule_that_follows_validations_resume_too(
    start, tmp_path
):
    settings = [
        "network.wav2vec_initially_frozen=false",
        "trainer.accumulate_grad_batches=2",
        "optim/schedule=reduce_on_plateau",
        "optim.schedule.patience=0",
        "optim.loss.scale_method=dwa",
    ]
    start(tmp_path / "whole", "train_mt_speaker_speech", *settings)
    with pytest.raises(KilledError):
        start(tmp_path / "parts", "train_mt_speaker_speech", *settings, killed_after=9)
    start(tmp_path / "parts", "train_mt_speaker_speech", *settings)
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")


def test_a_run_is_saved_between_validations_when_the_time_has_come(start, tmp_path):
    settings = [
        "network.wav2vec_initially_frozen=false",
        "trainer.val_check_interval=8",
        "trainer.accumulate_grad_batches=2",
    ]
    start(tmp_path / "whole", "train_speech", *settings)
    often = [*settings, "callbacks.last_checkpoint.save_every_minutes=1e-9"]
    with pytest.raises(KilledError):
        start(tmp_path / "parts", "train_speech", *often, killed_after=11)
    content = torch.load(tmp_path / "parts" / "checkpoints" / "last.ckpt", weights_only=True)
    assert content["global_step"] == 5
    start(tmp_path / "parts", "train_speech", *often)
    # What is logged of the step after which it was saved comes after it.
    rows, expected = (
        [row for row in rows_of(tmp_path / name) if row["step"] != "4"]
        for name in ("parts", "whole")
    )
    assert rows == expected
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")


@pytest.mark.parametrize(("num_workers", "num_workers_then"), [(2, 0), (1, 2)])
def test_a_run_resumes_exactly_with_another_number_of_workers(
    start, tmp_path, num_workers, num_workers_then
):
    config_name = "train_mt_speaker_speech"
    settings = ["network.wav2vec_initially_frozen=false", "eval_model=false"]
    before, after = (f"num_workers={number}" for number in (num_workers, num_workers_then))
    start(tmp_path / "whole", config_name, *settings, before)
    with pytest.raises(KilledError):
        start(tmp_path / "parts", config_name, *settings, before, killed_after=5)
    start(tmp_path / "parts", config_name, *settings, after)
    losses = [
        [{name: row[name] for name in row if "train" in name} for row in rows_of(tmp_path / part)]
        for part in ("parts", "whole")
    ]
    assert losses[0] == losses[1]
    assert sum("train_speech_loss" in row for row in losses[0]) == 8
