"""The losses of a step as numbers: what a weighting computes with."""

from collections.abc import Collection, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

SMALLEST_LOSS = 1e-7
"""Losses below it count as it in a ratio, so that a loss of zero has a finite weight."""


def detached(loss: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return loss.detach().float()


def ratio_values(
    losses: dict[str, Float[Tensor, ""]], task_names: Sequence[str]
) -> Float[Tensor, " tasks"]:
    values = torch.stack([detached(losses[name]) for name in task_names])
    return values.clamp(min=SMALLEST_LOSS)


def check_tasks(losses: dict[str, Float[Tensor, ""]], task_names: Collection[str]) -> None:
    if set(losses) != set(task_names):
        raise ValueError(
            f"there are losses of {sorted(losses)}, but weights of {sorted(task_names)}; name the "
            "same tasks in both."
        )
