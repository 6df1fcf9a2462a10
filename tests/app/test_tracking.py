import csv

import pytest
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from w2v2_mt.app.tracking import build_loggers, tags


@pytest.mark.parametrize(
    ("tag", "expected"),
    [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])],
)
def test_a_tag_is_none_one_or_several(tag, expected):
    assert tags(tag) == expected


def test_without_wandb_a_run_is_followed_in_its_own_folder(tmp_path):
    table, tensorboard = build_loggers({"use_wandb": False}, tmp_path, num_steps_done=0)
    assert isinstance(table, CSVLogger)
    assert table.log_dir == str(tmp_path) + "/"
    assert isinstance(tensorboard, TensorBoardLogger)
    assert tensorboard.log_dir.rstrip("/") == str(tmp_path / "tensorboard")


def test_an_account_that_wandb_refuses_is_told_in_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "short")
    monkeypatch.setenv("WANDB_MODE", "online")
    config = {"use_wandb": True, "project_name": "p", "experiment_name": "e", "tag": None}
    with pytest.raises(ValueError, match=r"^wandb cannot follow the run \(.*\); .* WANDB_MODE=of"):
        build_loggers(config, tmp_path, num_steps_done=0)


@pytest.mark.parametrize(("num_steps_done", "kept"), [(0, []), (2, ["3.0", "2.0"])])
def test_of_an_earlier_part_of_a_run_the_steps_before_its_checkpoint_are_kept(
    tmp_path, num_steps_done, kept
):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss\n0,0,3.0\n0,1,2.0\n0,2,1.0\n")
    logger, _ = build_loggers({"use_wandb": False}, tmp_path, num_steps_done=num_steps_done)
    logger.log_metrics({"train_loss": 0.5, "val_eer": 0.25}, step=num_steps_done)
    logger.save()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["train_loss"] for row in rows] == [*kept, "0.5"]
    assert rows[-1]["val_eer"] == "0.25"
