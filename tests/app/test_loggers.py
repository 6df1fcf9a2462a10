import csv

import pytest
from pytorch_lightning.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from w2v2_mt.app.loggers import open_loggers
from w2v2_mt.training.curves_logger import CurvesLogger


def open_in(folder, *, num_steps_done=0):
    return open_loggers(
        {"use_wandb": False},
        folder,
        num_steps_done=num_steps_done,
        command="train_speech",
        sweep=None,
    )


def test_without_wandb_a_run_has_two_loggers_in_its_folder(tmp_path):
    with open_in(tmp_path) as (curves, tensorboard, wandb):
        wandb.log_metrics({"train_loss": 1.0}, step=0)
        assert not list(tmp_path.glob("wandb*"))
        assert isinstance(curves, CurvesLogger)
        assert curves.path == tmp_path / "metrics.csv"
        assert isinstance(tensorboard, TensorBoardLogger)
        assert tensorboard.log_dir.rstrip("/") == str(tmp_path / "tensorboard")


@pytest.mark.parametrize(("num_steps_done", "kept"), [(0, []), (2, ["3.0", "2.0"])])
def test_a_resumed_run_keeps_the_rows_before_its_checkpoint(tmp_path, num_steps_done, kept):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss\n0,0,3.0\n0,1,2.0\n0,2,1.0\n")
    with open_in(tmp_path, num_steps_done=num_steps_done) as (logger, _, _):
        logger.log_metrics({"train_loss": 0.5, "val_eer": 0.25}, step=num_steps_done)
        logger.save()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train_loss"] for row in rows] == [*kept, "0.5"]
    assert rows[-1]["val_eer"] == "0.25"


def test_tensorboard_shows_each_step_of_a_resumed_run_once(tmp_path):
    for first, steps, value in ((0, range(5), 1.0), (3, range(3, 6), 2.0)):
        with open_in(tmp_path, num_steps_done=first) as (_, tensorboard, _):
            for step in steps:
                tensorboard.log_metrics({"train_loss": value}, step=step)
            tensorboard.finalize("success")
    shown = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("train_loss")
    assert [(event.step, event.value) for event in shown] == [
        (0, 1.0), (1, 1.0), (2, 1.0), (3, 2.0), (4, 2.0), (5, 2.0)
    ]  # fmt: skip
