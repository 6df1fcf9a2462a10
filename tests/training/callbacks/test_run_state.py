import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from tests.helpers.callback_trainer import trainer_with
from w2v2_mt.training.callbacks.run_state import RandomStates, RunRecord
from w2v2_mt.training.checkpoints import RECORD_KEY


def draws() -> list[float]:
    return [random.random(), np.random.rand(), np.random.randn(), float(torch.rand(()))]


@pytest.mark.parametrize("num_saved", [1, 2])
def test_draws_continue_from_a_checkpoint_of_as_many_processes(tmp_path, num_saved):
    np.random.randn()  # The next normal value is cached.
    saved = RandomStates().state_dict()
    torch.save({"states": saved["states"] * num_saved}, tmp_path / "states")
    expected = draws()
    callback = RandomStates()
    callback.load_state_dict(torch.load(tmp_path / "states", weights_only=True))
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    callback.on_train_start(trainer, pl.LightningModule())
    assert (draws() == expected) == (num_saved == 1)


def test_a_checkpoint_holds_settings_and_metrics_as_plain_numbers():
    checkpoint: dict = {"epoch": 0}
    record = {"config_name": "train_speaker", "num_speakers": 4}
    trainer = trainer_with({"val_eer": 0.5})
    RunRecord(record).on_save_checkpoint(trainer, pl.LightningModule(), checkpoint)
    assert checkpoint == {"epoch": 0, RECORD_KEY: {**record, "metrics": {"val_eer": 0.5}}}
    assert type(checkpoint[RECORD_KEY]["metrics"]["val_eer"]) is float
