"""What the three tasks have in common: how a network is optimised and when a value is measured."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from w2v2_mt.optim.schedules import ReduceOnPlateau, Schedule


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """An algorithm and the way of its learning rate.

    Args:
        algorithm: makes an optimiser of parameters.
        schedule: the factor of the learning rate at each optimiser step.
        num_steps: optimiser steps of the whole run.
        monitor: the validation metric that `reduce_on_plateau` follows.
        num_batches_between_validations: how often that metric is new.
    """

    algorithm: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    schedule: Schedule | ReduceOnPlateau
    num_steps: int
    monitor: str
    num_batches_between_validations: int

    def configure(
        self,
        network: nn.Module,
        *,
        loss_weights: Sequence[nn.Parameter] = (),
        weight_lr: float | None = None,
    ) -> Any:
        """What `LightningModule.configure_optimizers` returns.

        `loss_weights`, parameters of `network` by which losses are weighted, have the learning rate
        `weight_lr`, which goes the way of that of the others, and do not decay.
        """
        apart = set(loss_weights)
        trained = [
            parameter
            for parameter in network.parameters()
            if parameter.requires_grad and parameter not in apart
        ]
        optimiser = self.algorithm(trained)
        if loss_weights:
            group = {"name": "loss_weights", "params": list(loss_weights)}
            optimiser.add_param_group({**group, "lr": weight_lr, "weight_decay": 0.0})
        if isinstance(self.schedule, ReduceOnPlateau):
            return {
                "optimizer": optimiser,
                "lr_scheduler": {
                    "scheduler": self.schedule.build(optimiser),
                    "monitor": self.monitor,
                    "interval": "step",
                    "frequency": self.num_batches_between_validations,
                },
            }
        schedule, peak_lr = self.schedule, optimiser.param_groups[0]["lr"]
        scheduler = torch.optim.lr_scheduler.LambdaLR(
            optimiser,
            lambda step: schedule.factor(step, num_steps=self.num_steps, peak_lr=peak_lr),
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step"},
        }


def is_logging_step(task: pl.LightningModule) -> bool:
    """Whether Lightning writes what this training step logs; costly values wait for such a step."""
    interval: int = task.trainer.log_every_n_steps  # type: ignore[attr-defined]
    return (task.global_step + 1) % interval == 0
