"""The objective of a task: the loss that it minimizes, and how it is evaluated."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.tasks.evaluation import Evaluation
from w2v2_mt.tasks.event_counter import EventCounter


@dataclass(frozen=True, kw_only=True)
class ObjectiveResult:
    """The mean loss of a training batch and what to log with it.

    `counters` are logged after the processes have shared their counts. `diagnostics` are computed
    and logged only at the steps that Lightning writes.
    """

    loss: Float[Tensor, ""]
    metrics: dict[str, Tensor] = field(default_factory=dict)
    counters: dict[str, EventCounter] = field(default_factory=dict)
    diagnostics: Callable[[], dict[str, Tensor | float]] = dict


class Objective(nn.Module):
    """The loss of a task and its evaluation, which training does not change."""

    def __init__(self, evaluation: Evaluation):
        super().__init__()
        self.evaluation = evaluation

    def set_step(self, step: int) -> None:
        """Set the number of optimizer steps taken so far."""

    def forward(self, output: Any, batch: Any) -> ObjectiveResult:
        """Compare the network's output with the labels of a training batch.

        In joint training, processes without a label of the task do not call it, so that it must not
        wait for other processes.
        """
        raise NotImplementedError


class ObjectiveSettings:
    """The settings of an objective."""

    def build(self, data: Any) -> Objective:
        """Build the objective for the data of its task."""
        raise NotImplementedError
