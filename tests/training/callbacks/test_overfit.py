"""`+debug=overfit` on small data."""

import csv
import re

import pytest

from w2v2_mt.app.run import run


@pytest.mark.parametrize(
    ("config_name", "settings"),
    [
        ("train_speaker", ["callbacks.until_learned.loss_below=1.0"]),
        ("train_mt_speaker_speech", ["callbacks.until_learned.loss_below=4.0"]),
    ],
)
def test_two_batches_are_read_again_and_again_until_they_are_learned(
    small_config, tmp_path, capsys, config_name, settings
):
    config = small_config(
        config_name, "+debug=overfit", "trainer.max_steps=500", "optim.algo.lr=0.003", *settings
    )
    run(config, config_name=config_name, folder=tmp_path, overrides=[])
    (told,) = re.findall(
        r"^learned: the mean loss of the same 2 batches is ([\d.]+) after (\d+) steps",
        capsys.readouterr().out,
        flags=re.MULTILINE,
    )
    with (tmp_path / "metrics.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]]
    assert int(told[1]) == len(losses) < 500
    assert float(told[0]) == pytest.approx(sum(losses[-2:]) / 2, rel=0.01)
    assert losses[0] > 2 * losses[-1]


def test_the_same_batches_come_again(small_config, tmp_path):
    config = small_config(
        "train_speech", "+debug=overfit", "trainer.max_steps=6", "optim.algo.lr=1e-30"
    )
    run(config, config_name="train_speech", folder=tmp_path, overrides=[])
    with (tmp_path / "metrics.csv").open(newline="") as file:
        losses = [float(row["train_loss"]) for row in csv.DictReader(file) if row["train_loss"]]
    # Weights that hardly move and no randomness: what differs is the batch alone.
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)
    assert losses == pytest.approx(losses[:2] * 3, rel=1e-5)


def test_a_run_that_learns_nothing_is_reported_too(small_config, tmp_path, capsys):
    config = small_config("train_speaker", "+debug=overfit", "trainer.max_steps=4")
    run(config, config_name="train_speaker", folder=tmp_path, overrides=[])
    assert "not learned: the mean loss of the same 2 batches" in capsys.readouterr().out
