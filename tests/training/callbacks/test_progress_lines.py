from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from tests.helpers.callback_trainer import trainer_with
from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.training.callbacks.progress_lines import (
    ProgressLines,
    RunProgressBar,
    describe_data,
    describe_test,
    print_end,
)


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
    made.log_every_n_steps, made.accumulate_grad_batches, made.progress_bar_callback = 50, 1, None
    made.limit_train_batches = 1.0
    made.progress_bar_metrics = {"train_loss": torch.tensor(2.5), "val_eer": torch.tensor(0.1)}
    made.optimizers = [torch.optim.SGD([torch.zeros(1)], lr=0.01)]
    return made


def test_the_start_names_device_parameters_data_and_steps(trainer, capsys):
    data = {"train": {"hours": 1.26, "num_speakers": 1211, "num_utterances": 148_642}, "own": {}}
    ProgressLines(training_data=data).on_train_start(trainer, _Task())
    assert capsys.readouterr().out.splitlines() == [
        "device: cpu, precision 32-true",
        "network: 2.0 M parameters, 1.0 M trained and 1.0 M frozen",
        "training data train: 1.3 h, 1,211 speakers, 148,642 utterances",
        "training data own: of unknown size",
        "steps: 7 of 1007 done, a validation every 50 batches",
    ]


def _train_to_step_100(lines, trainer, monkeypatch):
    """Train from step 7 to step 100 in ten minutes, on a batch of 4 s."""
    batch = SpeakerBatch.pad(
        [Mock(waveform=torch.zeros(32_000), key=key, speaker_id="s") for key in "ab"],
        set_name="train",
        speaker_indices=torch.tensor([0, 1]),
    )
    task = _Task()
    task._trainer = trainer
    times = iter([1000.0, 1600.0])
    monkeypatch.setattr(
        "w2v2_mt.training.callbacks.progress_lines.time.monotonic", lambda: next(times)
    )
    lines.on_train_start(trainer, task)
    trainer.global_step = 99
    monkeypatch.setattr(_Task, "global_step", 99)
    lines.on_train_batch_end(trainer, task, None, {"speaker": batch}, 99)


def test_a_line_of_progress_has_losses_rates_and_the_time_left(trainer, monkeypatch, capsys):
    _train_to_step_100(ProgressLines(), trainer, monkeypatch)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "training step 99/1007: loss 2.5, lr 0.01, 0.153 steps/s, 0 s of audio/s, 1:38:42 left"
    )


def test_no_line_of_progress_disturbs_a_bar_or_follows_too_soon(trainer, monkeypatch, capsys):
    _train_to_step_100(ProgressLines(min_interval_sec=601), trainer, monkeypatch)
    trainer.progress_bar_callback = RunProgressBar()
    trainer.global_step = 7
    _train_to_step_100(ProgressLines(), trainer, monkeypatch)
    assert "training step" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("best", "line"),
    [
        (None, "best val_eer so far: 0.2, of this step"),
        (0.3, "best val_eer so far: 0.2, of this step"),
        (0.1, "best val_eer so far: 0.1"),
    ],
)
def test_a_validation_prints_the_best_so_far(capsys, best, line):
    trainer = trainer_with({"val_eer": 0.2})
    checkpoint = ModelCheckpoint(monitor="val_eer")
    checkpoint.best_model_score = None if best is None else torch.tensor(best)
    trainer.checkpoint_callbacks = [checkpoint]
    ProgressLines().on_validation_end(trainer, _Task())
    assert capsys.readouterr().out == f"{line}\n"


def test_the_end_lists_the_error_rates_with_intervals_and_the_report(tmp_path, capsys):
    metrics = {
        "val_eer": 0.5,
        "test_eer_o": 0.0312,
        "test_eer_o_low": 0.03,
        "test_eer_o_high": 0.04,
        "test_wer_clean": 0.05,
        "test_wer_clean_num_words": 100,
        "test_cllr_o": 0.2,
        "tested_step": 3,
    }
    assert list(describe_test(metrics)) == [
        "test_eer_o: 3.12 % (3.00 to 4.00)",
        "test_wer_clean: 5.00 %",
    ]
    print_end({}, tmp_path / "index.html")
    assert capsys.readouterr().out == f"report: {tmp_path / 'index.html'}\n"


def test_a_bar_shows_the_whole_run(trainer):
    bar = RunProgressBar()
    bar._trainer = trainer
    assert bar._get_train_description(0) == "Run of 1007 steps"
    assert bar.total_train_batches == 1007


def test_entries_of_metadata_that_are_missing_are_left_out():
    assert list(describe_data({"a": {"hours": 2}})) == ["training data a: 2.0 h"]
