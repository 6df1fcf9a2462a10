"""Gradient methods: weightings that use the gradient of each task on the shared parameters.

With gradient accumulation they act on each batch per task by itself.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from w2v2_mt.core.constraints import NonNegativeFloat, PositiveFloat
from w2v2_mt.losses.task_gradients import GradientGeometry
from w2v2_mt.losses.weighting_method import (
    WEIGHTINGS,
    EqualWeighting,
    Losses,
    LossWeighting,
    Weights,
    check_tasks,
    stack_losses,
)


@WEIGHTINGS.register("gradnorm")
class GradNorm(LossWeighting):
    """Weights that let all tasks train at similar rates; they sum to 1 and are equal at first.

    G_i is the norm of the gradient of w_i * L_i, and r_i = L_i / L_i(0) the inverse training rate.
    sum_i |G_i - T_i| with T_i = sum_j(G_j) * r_i^alpha / sum_j(r_j^alpha) is lowered by a step of
    gradient descent, in which T_i is constant; then the weights are scaled to sum to 1.

    This differs from the paper in three points. Its T_i = mean_j(G_j) * (r_i / mean_j(r_j))^alpha
    cannot all be met unless alpha is 0 or 1, as they do not add up to what the G_i do, and a weight
    can go to zero; ours are theirs, scaled to that sum. The step is one on log w_i, so that weights
    stay positive, and is divided by mean_j(G_j), so that the scale of the gradients does not
    matter.

    G_i is taken over all shared parameters, whose gradients are computed anyway: the last shared
    layer, which the paper takes to save time, may be dropped in a step. r_i counts from the first
    step with shared gradients, so that a frozen encoder changes nothing; nor does a step with
    gradients that are zero or not finite, nor one in which a task has no loss.

    With equal G_i, `weight_lr` is the change of log w_i per step; alpha 0 only makes the G_i equal.

    Source: arXiv 1711.02257, eq. 1 and 2 and algorithm 1.
    """

    needs_task_gradients = True
    weights: Tensor
    initial_losses: Tensor

    def __init__(
        self,
        task_names: Sequence[str],
        *,
        weight_lr: PositiveFloat,
        gradnorm_alpha: NonNegativeFloat,
    ):
        super().__init__(task_names)
        self.learning_rate = weight_lr
        self.alpha = gradnorm_alpha
        num_tasks = len(self.task_names)
        self.register_buffer("weights", torch.full((num_tasks,), 1 / num_tasks))
        # Zero until there is one.
        self.register_buffer("initial_losses", torch.zeros(num_tasks))

    def forward(self, losses: Losses) -> Weights:
        check_tasks(losses, self.task_names)
        # Copied, since the graph of this step must not see the weights of the next one.
        return dict(zip(self.task_names, self.weights.clone(), strict=True))

    def gradient_scales(self, losses: Losses, geometry: GradientGeometry) -> None:
        """Learn the weights of the next step, and leave the gradients of this one as they are."""
        if len(losses) < len(self.task_names):
            return
        values = stack_losses(losses, self.task_names)
        norms = torch.stack([geometry.norms[task] for task in self.task_names])
        is_usable = ((norms > 0) & norms.isfinite() & values.isfinite()).all()
        initial_losses = torch.where(self.initial_losses > 0, self.initial_losses, values)
        # r_i^alpha over the sum of all, where a power could underflow.
        shares = torch.softmax(self.alpha * (values / initial_losses).log(), dim=0)
        targets = norms.sum() * shares
        slopes = torch.sign(norms - targets) * norms / norms.mean()
        weights = torch.softmax(self.weights.log() - self.learning_rate * slopes, dim=0)
        self.initial_losses.copy_(torch.where(is_usable, initial_losses, self.initial_losses))
        self.weights.copy_(torch.where(is_usable, weights, self.weights))


@WEIGHTINGS.register("pcgrad")
class PcGrad(EqualWeighting):
    """Equal weights, and gradients that are projected where they conflict.

    The gradient g of a task meets the gradient h of each other task in turn. Where they conflict,
    g * h < 0, it becomes g - (g * h / |h|^2) h. The sum over the tasks, which is all that matters,
    scales each original gradient by a factor. The paper draws the order of the other tasks at each
    step; here it is the order of the tasks.

    Source: arXiv 2001.06782, algorithm 1.
    """

    needs_task_gradients = True

    def gradient_scales(self, losses: Losses, geometry: GradientGeometry) -> Weights:
        scales = {task: torch.ones_like(norm) for task, norm in geometry.norms.items()}
        for task in scales:
            # The projected gradient of this task as a sum of factors times original gradients.
            factors = {task: torch.ones_like(geometry.norms[task])}
            for other in scales:
                if other == task:
                    continue
                product = sum(
                    factor * geometry.inner_product(part, other) for part, factor in factors.items()
                )
                square = geometry.norms[other].square()
                # A task without gradient gives 0 / tiny.
                square = square.clamp(min=torch.finfo(square.dtype).tiny)
                factors[other] = -torch.as_tensor(product).clamp(max=0) / square
                scales[other] = scales[other] + factors[other]
        return scales
