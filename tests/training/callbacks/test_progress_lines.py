import re

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from tests.helpers.callback_trainer import trainer_with
from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.training.callbacks.progress_lines import (
    ProgressLines,
    describe_data,
)
from w2v2_mt.training.speed_meter import SpeedMeter


def _meter():
    """Return a meter after ten minutes, one of them a wait, with 20 minutes of audio in 30."""
    times = iter([0.0, 60.0])
    meter = SpeedMeter(clock=lambda: next(times, 600.0))
    meter.begin_wait()
    meter.end_wait()
    lengths = [900 * 16_000, 300 * 16_000]
    batch = BatchLengths(num_samples=lengths, max_num_samples=lengths[0], rows={})
    meter.add_batches([batch], useful_flops=6e14)
    return meter


SETTINGS = {"meter": _meter(), "training_data": {}, "interval_sec": 30.0, "has_bar": False}


class _Task(pl.LightningModule):
    """Two million parameters, one of them frozen."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ParameterList([torch.zeros(10**6), torch.zeros(10**6)])
        self.layers[1].requires_grad_(False)


@pytest.fixture
def trainer():
    made = trainer_with({})
    made.max_steps, made.world_size, made.precision, made.val_check_batch = 1007, 1, "32-true", 50
    made.log_every_n_steps = 50
    made.callback_metrics = {
        "train_loss": torch.tensor(2.5),
        "train_acc": torch.tensor(0.5),
        "val_eer": torch.tensor(0.1),
    }
    made.optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.01)]
    return made


def test_the_start_names_device_parameters_data_and_steps(trainer, capsys):
    data = {"train": {"hours": 1.26, "num_speakers": 1211, "num_utterances": 148_642}, "own": {}}
    ProgressLines(**SETTINGS | {"training_data": data}).on_train_start(trainer, _Task())
    assert capsys.readouterr().out.splitlines() == [
        "device: cpu, precision 32-true",
        "network: 2.0 M parameters, 1.0 M trained and 1.0 M frozen",
        "training data train: 1.3 h, 1,211 speakers, 148,642 utterances",
        "training data own: of unknown size",
        "steps: 7 of 1007 done, a validation every 50 batches",
    ]


def _train_to_step_100(lines, trainer, monkeypatch):
    """Train from step 7 to step 100 in ten minutes."""
    task = _Task()
    task._trainer = trainer
    times = iter([1000.0, 1600.0])
    monkeypatch.setattr(
        "w2v2_mt.training.callbacks.progress_lines.time.monotonic", lambda: next(times)
    )
    lines.on_train_start(trainer, task)
    trainer.global_step = 99
    monkeypatch.setattr(_Task, "global_step", 99)
    lines.on_train_batch_end(trainer, task, None, None, 99)


def test_a_line_of_progress_has_losses_rates_and_the_time_left(trainer, monkeypatch, capsys):
    _train_to_step_100(ProgressLines(**SETTINGS), trainer, monkeypatch)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "training step 99/1007: loss 2.5, lr 0.01, 0.153 steps/s, 1:38:42 left, "
        "2 s of audio/s, padding 33.3 %, loader wait 10.0 %, 1 TFLOP/s"
    )


def test_no_line_of_progress_follows_within_the_interval(trainer, monkeypatch, capsys):
    _train_to_step_100(ProgressLines(**SETTINGS | {"interval_sec": 601.0}), trainer, monkeypatch)
    assert "training step" not in capsys.readouterr().out


def test_a_bar_has_the_same_values_in_80_columns(trainer, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    lines = ProgressLines(**SETTINGS | {"has_bar": True})
    _train_to_step_100(lines, trainer, monkeypatch)
    lines.teardown()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().out)
    assert re.search("\nstep 99/1007 ━+[╺╸]━━━━", shown)
    assert "━ 0.153 steps/s, 1:38:42 left\nloss 2.5, lr 0.01\n" in shown
    assert "\n2 s of audio/s, padding 33.3 %, loader wait 10.0 %, 1 TFLOP/s\n" in shown
    assert "training step" not in shown


def test_a_terminal_that_cannot_show_a_bar_has_lines(trainer, monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    _train_to_step_100(ProgressLines(**SETTINGS | {"has_bar": True}), trainer, monkeypatch)
    assert "training step 99/1007: loss 2.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("best", "lowest"), [(None, "20.00 %"), (0.3, "20.00 %"), (0.1, "10.00 %")]
)
def test_a_validation_is_a_table_with_the_best_so_far(capsys, best, lowest):
    trainer = trainer_with({"val_eer": 0.2, "val_loss_[b]": 1 / 3, "train_loss": 1.0})
    checkpoint = ModelCheckpoint(monitor="val_eer")
    checkpoint.best_model_score = None if best is None else torch.tensor(best)
    trainer.checkpoint_callbacks = [checkpoint]
    ProgressLines(**SETTINGS).on_validation_end(trainer, _Task())
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.strip() == "step 7: validation"
    assert [re.split(" *[│┃] *", row)[1:-1] for row in rows if row[0] in "│┃"] == [
        ["dev metric", "value", "best so far"],
        ["eer", "20.00 %", lowest],
        ["loss_[b]", "0.3333", ""],
    ]


def test_entries_of_metadata_that_are_missing_are_left_out():
    assert list(describe_data({"a": {"hours": 2}})) == ["training data a: 2.0 h"]
    assert list(describe_data({"a": {"hours": 0.02}})) == ["training data a: 1.2 min"]
