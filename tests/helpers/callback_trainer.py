"""A Trainer as callbacks see it after a validation."""

from unittest.mock import Mock

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn, TrainerState


def trainer_with(metrics, fn=TrainerFn.FITTING):
    """Make a Trainer with these metrics."""
    trainer = Mock(spec=pl.Trainer, should_stop=False, global_step=7, is_global_zero=True)
    trainer.state = TrainerState(fn=fn)
    trainer.callback_metrics = {name: torch.tensor(value) for name, value in metrics.items()}
    return trainer
