"""The speed that a run measures, prints and reports."""

import csv
import json
import re

import pytest
import pytorch_lightning as pl
import torch

from tests.helpers.page_reading import Page
from w2v2_mt.app.run import run

NAME = "train_mt_speaker_speech"


class KilledError(Exception):
    pass


class Watch(pl.Callback):
    """Counts the samples of each batch, and ends a run in the middle of things."""

    def __init__(self, killed_after):
        self.killed_after = killed_after
        self.num_samples = []
        self.num_padded_samples = []

    def on_train_batch_end(self, _, __, ___, batch, *____):
        batches = batch.values() if isinstance(batch, dict) else [batch]
        self.num_samples.append(sum(int(each.num_samples.sum()) for each in batches))
        self.num_padded_samples.append(sum(each.waveforms.numel() for each in batches))
        if len(self.num_samples) == self.killed_after:
            raise KilledError


@pytest.fixture
def start(small_config):
    """Starts a run of eight steps with a validation every two; returns its watch."""

    def start_run(folder, *overrides, killed_after=0, config_name=NAME):
        watch = Watch(killed_after)
        steps = ["trainer.max_steps=8", "trainer.val_check_interval=2", *overrides]
        run(
            small_config(config_name, *steps),
            config_name=config_name,
            folder=folder,
            overrides=steps,
            extra_callbacks=[watch],
        )
        return watch

    return start_run


def speed_of(folder):
    return json.loads((folder / "speed.json").read_text())


@pytest.mark.parametrize("config_name", ["train_speech", NAME])
def test_a_run_measures_its_batches_and_reports_their_speed(start, tmp_path, capsys, config_name):
    watch = start(tmp_path, "trainer.log_every_n_steps=2", config_name=config_name)
    speed = speed_of(tmp_path)
    assert speed["num_steps"] == len(watch.num_samples) == 8
    assert speed["num_samples"] == sum(watch.num_samples)
    assert speed["num_padded_samples"] == sum(watch.num_padded_samples)
    assert 0 < speed["loader_wait_sec"] < speed["training_sec"]
    output = capsys.readouterr().out
    assert re.search(
        r"trained 8 steps in 0:00:\d\d: \d+ s of audio/s, padding [\d.]+ %, loader wait", output
    )
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = {int(row["step"]): row for row in csv.DictReader(file) if row["train_loss"]}
    assert list(rows) == [1, 3, 5, 7]
    for step, row in rows.items():
        share = 1 - sum(watch.num_samples[step - 1 : step + 1]) / sum(
            watch.num_padded_samples[step - 1 : step + 1]
        )
        assert float(row["speed_padding_share"]) == pytest.approx(share, abs=1e-6)
    page = Page((tmp_path / "report" / "index.html").read_text())
    assert "Speed" in page.headings
    padding = page.texts.index("share of padding in the batches")
    assert page.texts[padding + 1] == f"{100 * speed['padding_share']:.1f} %"


@pytest.mark.parametrize("killed_after", [1, 5])
def test_a_run_that_was_killed_adds_up_the_steps_of_its_last_state(start, tmp_path, killed_after):
    whole = start(tmp_path / "whole")
    with pytest.raises(KilledError):
        start(tmp_path / "parts", killed_after=killed_after)
    start(tmp_path / "parts")
    speed = speed_of(tmp_path / "parts")
    assert speed["num_steps"] == 8
    assert speed["num_samples"] == sum(whole.num_samples)
    assert speed["num_padded_samples"] == sum(whole.num_padded_samples)
    # A command that has nothing left to train changes nothing.
    start(tmp_path / "parts")
    assert speed_of(tmp_path / "parts") == speed


def test_two_processes_add_up_their_batches(run_command, tmp_path):
    settings = ["trainer.max_steps=4", "trainer.val_check_interval=4", "eval_model=false"]
    run_command(tmp_path / "two", "train_speaker", *settings, "trainer.devices=2", "num_workers=1")
    in_turn = ["trainer.accumulate_grad_batches=2", "num_workers=2"]
    run_command(tmp_path / "one", "train_speaker", *settings, *in_turn)
    two, one = speed_of(tmp_path / "two"), speed_of(tmp_path / "one")
    for name in ("num_steps", "num_samples", "num_padded_samples", "padding_share"):
        assert two[name] == one[name]


class Reads(pl.Callback):
    """Counts the values that each step reads from tensors, which would wait for a GPU."""

    def __init__(self, monkeypatch):
        self.by_step: dict[int, int] = {}
        self.step: int | None = None
        item = torch.Tensor.item

        def count_item(tensor):
            if self.step is not None:
                self.by_step[self.step] = self.by_step.get(self.step, 0) + 1
            return item(tensor)

        monkeypatch.setattr(torch.Tensor, "item", count_item)

    def on_train_batch_start(self, trainer, *_):
        # Until the start of the next one, so that what Lightning does between them counts.
        self.step = trainer.global_step + 1

    def on_validation_start(self, *_):
        self.step = None


def test_only_logged_steps_read_what_they_log(small_config, tmp_path, monkeypatch):
    reads = Reads(monkeypatch)
    settings = ["trainer.max_steps=8", "trainer.val_check_interval=8", "eval_model=false"]
    settings += ["trainer.log_every_n_steps=4", "network/regularisation=wav2vec2_none"]
    run(
        small_config(NAME, *settings),
        config_name=NAME,
        folder=tmp_path,
        overrides=settings,
        extra_callbacks=[reads],
    )
    assert set(reads.by_step) == {4, 8}
