"""The optimization of a run: optimizer, learning-rate schedule and when it advances."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from w2v2_mt.losses.weighting_method import LossWeighting
from w2v2_mt.optim.schedules import Schedule


@dataclass(frozen=True, kw_only=True)
class OptimizationPlan:
    """An optimizer and its learning-rate schedule.

    Args:
        num_steps: Optimizer steps of the whole run.
        monitor: The validation metric that `reduce_on_plateau` follows.
        num_batches_between_validations: Training batches between two values of that metric.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    schedule: Schedule
    num_steps: int
    monitor: str
    num_batches_between_validations: int

    def configure(self, network: nn.Module, weighting: LossWeighting) -> dict[str, Any]:
        """Return what `LightningModule.configure_optimizers` returns.

        The parameters of the weighting, if it has any, are not decayed, and their learning rate
        follows the schedule from the peak `weighting.weight_lr`.
        """
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = self.optimizer(trained)
        peak_lr = optimizer.param_groups[0]["lr"]
        if weight_parameters := list(weighting.parameters()):
            weight_lr = peak_lr if weighting.weight_lr is None else weighting.weight_lr
            group = {"name": "loss_weights", "params": weight_parameters}
            optimizer.add_param_group({**group, "lr": weight_lr, "weight_decay": 0.0})
        scheduler = self.schedule.build(
            optimizer,
            num_steps=self.num_steps,
            monitor=self.monitor,
            validation_interval=self.num_batches_between_validations,
        )
        return {"optimizer": optimizer, "lr_scheduler": scheduler}
