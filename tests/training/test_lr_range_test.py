"""The learning-rate range test of short runs."""

import csv
import json
from pathlib import Path

import pytest
import torch

from w2v2_mt.app.run import run

CONFIG_NAMES = ["train_speech", "train_speaker", "train_mt_speaker_speech"]
NUM_STEPS = 12
TEST = ["run_lr_range_test=true", f"lr_range_iterations={NUM_STEPS}"]
SETTINGS = [
    # Drop-out, masks and dropped layers draw at every step; moments and schedule remember.
    "network.wav2vec_initially_frozen=false",
    "network/regularisation=wav2vec2_default_asr",
    "eval_model=false",
]


@pytest.fixture
def start(small_config):
    def start_run(folder: Path, config_name: str, *overrides: str) -> None:
        config = small_config(config_name, *overrides)
        run(config, config_name=config_name, folder=folder, overrides=overrides)

    return start_run


def losses_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: row[name] for name in row if not is_measured(name)} for row in rows]


def is_measured(name: str) -> bool:
    return "memory" in name or (name.startswith("speed_") and name != "speed_padding_share")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    ("config_name", "settings"),
    [
        ("train_speech", ["num_workers=1"]),
        ("train_speaker", ["trainer.accumulate_grad_batches=2"]),
        ("train_mt_speaker_speech", ["optim.loss.scale_method=uncertainty"]),
        (
            "train_mt_speaker_speech",
            [
                "optim.loss.scale_method=dwa",
                "speaker.pipeline.selector_train.match_speech_lengths=true",
            ],
        ),
    ],
)
def test_a_training_after_the_test_is_one_without_it(
    start, tmp_path, capsys, config_name, settings
):
    start(tmp_path / "without", config_name, *SETTINGS, *settings)
    start(tmp_path / "after", config_name, *SETTINGS, *settings, *TEST)
    assert losses_of(tmp_path / "after") == losses_of(tmp_path / "without")
    weights, expected = weights_of(tmp_path / "after"), weights_of(tmp_path / "without")
    assert all(torch.equal(weights[name], expected[name]) for name in expected)

    curve = json.loads((tmp_path / "after" / "lr_range.json").read_text())
    num_points = len(curve["learning_rate"])
    assert num_points == len(curve["loss"]) == len(curve["smoothed_loss"])
    assert num_points == NUM_STEPS or curve["has_diverged"]
    expected_rates = [1e-7 * 1e8 ** (step / (NUM_STEPS - 1)) for step in range(num_points)]
    assert curve["learning_rate"] == pytest.approx(expected_rates)
    if "trainer.accumulate_grad_batches=2" not in settings:
        # Its first step sees what the first step of the training sees.
        losses = [row["train_loss"] for row in losses_of(tmp_path / "after") if row["train_loss"]]
        assert curve["loss"][0] == pytest.approx(float(losses[0]), rel=1e-6)
    told = capsys.readouterr().out
    assert "learning-rate range test (arXiv 1506.01186" in told
    assert "optim.algo.lr stays 0.0001" in told
    assert "frozen trunk" not in told
    assert (tmp_path / "after" / "report" / "learning_rate_range_test.png").exists()
    page = (tmp_path / "after" / "report" / "index.html").read_text()
    assert 'aria-label="Learning-rate range test"' in page


@pytest.mark.parametrize("config_name", CONFIG_NAMES)
def test_a_run_may_do_the_test_only_and_says_what_was_frozen(start, tmp_path, capsys, config_name):
    start(
        tmp_path,
        config_name,
        *TEST,
        "fit_model=false",
        "eval_model=false",
        # It thaws in the training, not in the test: that is about how training begins.
        "network.wav2vec_initially_frozen=true",
        "network.num_frozen_steps=1",
        "optim.algo.lr=0.02",
    )
    assert "with the frozen trunk that training begins with" in capsys.readouterr().out
    assert json.loads((tmp_path / "lr_range.json").read_text())["trunk_is_frozen"] is True
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "report" / "learning_rate_range_test.png").exists()


def test_a_run_that_is_resumed_is_not_tested_again(start, tmp_path):
    start(tmp_path, "train_speech", *SETTINGS, *TEST)
    (tmp_path / "lr_range.json").unlink()
    start(tmp_path, "train_speech", *SETTINGS, *TEST)
    assert not (tmp_path / "lr_range.json").exists()
