"""The base class of loss weightings and gradient methods, and the registry that names them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.registry import Registry
from w2v2_mt.losses.task_gradients import GradientGeometry

SMALLEST_LOSS = 1e-7
"""A smaller loss counts as this one in a ratio, so that a loss of zero has a finite weight."""

Losses: TypeAlias = Mapping[str, Float[Tensor, ""]]
"""The loss of each task, by the task's name."""

Weights: TypeAlias = dict[str, Float[Tensor, ""]]
"""The weight of each task, by the task's name."""


class LossWeighting(nn.Module):
    """A method that turns the losses of a step into weights.

    A method overrides `forward`, registers itself under a name of `optim.loss.scale_method`, and
    declares its settings, keys of `optim.loss`, as keyword-only parameters. No gradient may flow
    from a weight into a loss, and no value may be read back from the device.

    The losses of a step are those of `task_names`, or fewer: in joint training, no utterance of a
    step may have a label of a task.

    A gradient method sets `needs_task_gradients` and overrides `gradient_scales` in addition.
    Methods without a state per task accept any losses if no tasks are named.
    """

    needs_task_gradients = False
    """Compute the gradient of each task at every step, and call `gradient_scales`."""

    weight_lr: float | None = None
    """The learning rate of the method's own parameters, if it has any. None: that of the
    network."""

    def __init__(self, task_names: Sequence[str] = ()):
        super().__init__()
        self.task_names = list(task_names)

    def forward(self, losses: Losses) -> Weights:
        """Return the weight of each task; one without a loss in this step is not used."""
        raise NotImplementedError

    def penalty(self) -> Float[Tensor, ""] | float:
        """Return the term that learned weights add to the loss."""
        return 0.0

    def gradient_scales(self, losses: Losses, geometry: GradientGeometry) -> Weights | None:
        """Return a factor for each task's gradient of the shared parameters, or None for none.

        Called once per batch of each task, after its gradients are known, with the losses averaged
        over processes and the geometry of the gradients of the weighted losses.
        """
        return None


WEIGHTINGS = Registry[type[LossWeighting]]("loss weighting", setting="optim.loss.scale_method")


class EqualWeighting(LossWeighting):
    """The same weight for each task; they sum to 1. Chosen by `scale_method=null`."""

    def forward(self, losses: Losses) -> Weights:
        num_tasks = len(self.task_names or losses)
        return {
            task: torch.full_like(loss.detach().float(), 1 / num_tasks)
            for task, loss in losses.items()
        }


def check_tasks(losses: Losses, task_names: Collection[str]) -> None:
    """Raise a ValueError if a loss is that of another task."""
    if not set(losses) <= set(task_names):
        raise ValueError(
            f"The tasks of the losses ({', '.join(losses)}) must be those of the weighting "
            f"({', '.join(task_names)}). Name the same tasks in both."
        )


def stack_losses(losses: Losses, task_names: Iterable[str]) -> Float[Tensor, " tasks"]:
    """Return the losses of these tasks, in this order, as one tensor without gradient."""
    values = torch.stack([losses[task].detach().float() for task in task_names])
    return values.clamp(min=SMALLEST_LOSS)
