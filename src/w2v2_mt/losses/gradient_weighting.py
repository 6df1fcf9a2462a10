"""Weightings that look at the gradients of both tasks on the parameters that the tasks share.

Beside turning losses into weights, as all weightings do, such a class says, once the gradients of
a step are known, by what each task's gradient of the shared parameters is multiplied in that step.
With gradient accumulation it looks at each pair of batches by itself.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.constraints import NonNegativeFloat, PositiveFloat
from w2v2_mt.losses.loss_values import check_tasks, detached, ratio_values
from w2v2_mt.losses.task_gradients import GradientGeometry


@runtime_checkable
class GradientWeighting(Protocol):
    """What the weightings of this file have in common."""

    def shared_scales(
        self, losses: dict[str, Float[Tensor, ""]], geometry: GradientGeometry
    ) -> dict[str, Float[Tensor, ""]] | None:
        """By task; None to leave the gradients as they are.

        `losses` and `geometry` are those of a step, the latter with the weights that the step has.
        """


class PcGrad(nn.Module):
    """Each task's gradient loses what points against the other's; both losses weigh 1 / 2.

    Of gradients g and h that conflict, g * h < 0, the step takes g - (g * h / |h|^2) h and
    h - (g * h / |g|^2) g; else it takes them as they are. Their sum, which is all that matters, is
    (1 - g * h / |g|^2) g + (1 - g * h / |h|^2) h.

    Source: arXiv 2001.06782, algorithm 1.
    """

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        return {
            task: torch.full_like(detached(loss), 1 / len(losses)) for task, loss in losses.items()
        }

    def shared_scales(
        self, losses: dict[str, Float[Tensor, ""]], geometry: GradientGeometry
    ) -> dict[str, Float[Tensor, ""]]:
        conflict = geometry.inner_product.clamp(max=0)
        smallest = torch.finfo(conflict.dtype).tiny  # of a task without gradient: 0 / smallest
        return {
            task: 1 - conflict / norm.square().clamp(min=smallest)
            for task, norm in geometry.norms.items()
        }


class GradNorm(nn.Module):
    """Weights that let all tasks train at similar rates; they sum to 1 and are equal at first.

    G_i is the norm of the gradient of w_i * L_i, and r_i = L_i / L_i(0) what is left of a loss.
    sum_i |G_i - T_i| with T_i = sum_j(G_j) * r_i^alpha / sum_j(r_j^alpha) is lowered by a step of
    gradient descent, in which T_i is constant; then the weights are scaled to sum to 1.

    This differs from the paper in three points. Its T_i = mean_j(G_j) * (r_i / mean_j(r_j))^alpha
    cannot all be met unless alpha is 0 or 1, as they do not add up to what the G_i do, and a weight
    can go to zero; ours are theirs, scaled to that sum. The step is one on log w_i, so that weights
    stay positive, and is divided by mean_j(G_j), so that the scale of the gradients is no matter.

    G_i is taken over all shared parameters, whose gradients are there anyhow: the last shared
    layer, which the paper takes to save time, may be dropped in a step. r_i counts from the first
    step with shared gradients, so that a frozen trunk changes nothing; nor does a step with
    gradients that are zero or not finite.

    Args:
        learning_rate: what the logarithm of a weight changes by in a step, where the G_i are equal.
        alpha: how strongly the rates are pulled together; 0 only makes the G_i equal.

    Raises ValueError when the losses belong to other tasks than `task_names`.
    Source: arXiv 1711.02257, eq. 1 and 2 and algorithm 1.
    """

    weights: Tensor
    initial_losses: Tensor

    def __init__(
        self,
        *,
        task_names: Sequence[str],
        learning_rate: PositiveFloat,
        alpha: NonNegativeFloat,
    ):
        super().__init__()
        self.task_names = list(task_names)
        self.learning_rate = learning_rate
        self.alpha = alpha
        num_tasks = len(self.task_names)
        self.register_buffer("weights", torch.full((num_tasks,), 1 / num_tasks))
        # Zero until there is one.
        self.register_buffer("initial_losses", torch.zeros(num_tasks))

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        check_tasks(losses, self.task_names)
        # Copied, since the graph of this step must not see the weights of the next one.
        return dict(zip(self.task_names, self.weights.clone(), strict=True))

    def shared_scales(
        self, losses: dict[str, Float[Tensor, ""]], geometry: GradientGeometry
    ) -> None:
        """Learns the weights of the next step; the gradients of this one have theirs already."""
        values = ratio_values(losses, self.task_names)
        norms = torch.stack([geometry.norms[name] for name in self.task_names])
        is_usable = ((norms > 0) & norms.isfinite() & values.isfinite()).all()
        initial_losses = torch.where(self.initial_losses > 0, self.initial_losses, values)
        # r_i^alpha over the sum of all, where a power could underflow.
        shares = torch.softmax(self.alpha * (values / initial_losses).log(), dim=0)
        targets = norms.sum() * shares
        slopes = torch.sign(norms - targets) * norms / norms.mean()
        weights = torch.softmax(self.weights.log() - self.learning_rate * slopes, dim=0)
        self.initial_losses.copy_(torch.where(is_usable, initial_losses, self.initial_losses))
        self.weights.copy_(torch.where(is_usable, weights, self.weights))
