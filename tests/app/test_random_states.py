import random

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from w2v2_mt.app.random_states import RandomStates


def draws() -> list[float]:
    return [random.random(), np.random.rand(), np.random.randn(), float(torch.rand(()))]


@pytest.mark.parametrize("num_saved", [1, 2])
def test_draws_go_on_where_a_checkpoint_of_as_many_processes_was_saved(tmp_path, num_saved):
    np.random.randn()  # The next normal value is cached.
    saved = RandomStates().state_dict()
    torch.save({"states": saved["states"] * num_saved}, tmp_path / "states")
    expected = draws()
    callback = RandomStates()
    callback.load_state_dict(torch.load(tmp_path / "states", weights_only=True))
    trainer = pl.Trainer(accelerator="cpu", devices=1, logger=False, enable_checkpointing=False)
    callback.on_train_start(trainer, pl.LightningModule())
    assert (draws() == expected) == (num_saved == 1)
