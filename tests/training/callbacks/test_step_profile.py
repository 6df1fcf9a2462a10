"""`+debug=profile` and `trainer=debug_trainer` on small data."""

import csv
import json
import re

import hydra
import pytest

from w2v2_mt.app.run import run
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.validation import check_settings
from w2v2_mt.training.callbacks.step_profile import StepProfile


@pytest.mark.parametrize("config_name", ["train_speech", "train_mt_speaker_speech"])
def test_a_profile_prints_shares_of_a_step_and_leaves_a_trace(
    small_config, tmp_path, capsys, config_name
):
    config = small_config(
        config_name,
        "+debug=profile",
        "trainer.max_steps=100",
        "trainer.accumulate_grad_batches=2",
        "callbacks.profile.num_warmup_steps=1",
        "callbacks.profile.num_timed_steps=3",
        "callbacks.profile.num_traced_steps=1",
    )
    run(config, config_name=config_name, folder=tmp_path, overrides=[])
    told = capsys.readouterr().out
    shares = dict(re.findall(r"(data|forward|backward|optimizer) ([\d.]+) %", told))
    assert list(shares) == ["data", "forward", "backward", "optimizer"]
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.3)
    assert all(float(share) > 0 for share in shares.values())
    with (tmp_path / "metrics.csv").open(newline="") as file:
        steps = {int(row["step"]) for row in csv.DictReader(file) if row["train_loss"]}
    assert max(steps) == 4  # It ends by itself after 1 + 3 + 1 steps.
    names = {
        event["name"] for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    }
    assert {"aten::conv1d", "aten::linear"} <= names


def test_time_that_is_added_up_is_all_there_is():
    callback = StepProfile(num_warmup_steps=0, num_timed_steps=1, num_traced_steps=1)
    callback.seconds = {"data": 1.0, "forward": 2.0, "backward": 4.0, "optimizer": 1.0}
    assert callback.shares() == {
        "data": 0.125, "forward": 0.25, "backward": 0.5, "optimizer": 0.125,
    }  # fmt: skip


def test_the_debug_trainer_trains_twenty_steps_and_logs_each(small_overrides, tmp_path, capsys):
    overrides = [
        override
        for override in small_overrides("train_speaker", "eval_model=false")
        if not override.startswith("trainer.")
    ]
    overrides += ["trainer=debug_trainer", "trainer.enable_progress_bar=false"]
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        config = check_settings(hydra.compose("train_speaker", overrides))
    run(config, config_name="train_speaker", folder=tmp_path, overrides=overrides)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        steps = [int(row["step"]) for row in csv.DictReader(file) if row["train_loss"]]
    assert steps == list(range(20))
    told = capsys.readouterr().out
    assert "step 10: " in told
    assert "step 20: " in told
