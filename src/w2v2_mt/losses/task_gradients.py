"""The gradients of two tasks, apart, for the price of the one backward pass of their sum.

The batches of the tasks pass through the network one after the other, so their graphs meet in
parameters only: to follow one graph and then the other costs what following both at once costs.
Nothing here reads a number back from the device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from w2v2_mt.core.processes import mean_over_processes, num_processes


@dataclass(frozen=True, kw_only=True)
class GradientGeometry:
    """How the gradients of two weighted losses, w_i * L_i, lie to each other.

    `norms` by task, in its order. What scales both, such as a GradScaler, is taken out.
    """

    norms: dict[str, Float[Tensor, ""]]
    inner_product: Float[Tensor, ""]

    @property
    def cosine(self) -> Float[Tensor, ""]:
        """0 where a task has no gradient."""
        first, second = self.norms.values()
        product = first * second
        return torch.where(product > 0, self.inner_product / product, 0)


@dataclass(frozen=True, kw_only=True)
class TaskGradients:
    """The gradients of one batch of each task.

    Args:
        shared: the parameters that belong to both tasks.
        by_task: a gradient for each of `shared`, None where the task did not reach it.
        rest: the gradients of all other parameters.
        factor: what all gradients were multiplied with beside the weights of their losses.
    """

    shared: Sequence[nn.Parameter]
    by_task: Mapping[str, Sequence[Tensor | None]]
    rest: dict[nn.Parameter, Tensor]
    factor: Float[Tensor, ""]

    def geometry(self) -> GradientGeometry:
        """Of the shared part, averaged over processes first: that is the gradient of all batches.

        A parameter that a task did not reach, such as one of a dropped layer, counts as zeros.
        """
        first, second = (self._averaged(gradients) for gradients in self.by_task.values())
        norms = [get_total_norm(gradients) / self.factor for gradients in (first, second)]
        products = [
            torch.dot(one.flatten(), other.flatten())
            for one, other in zip(first, second, strict=True)
        ]
        return GradientGeometry(
            norms=dict(zip(self.by_task, norms, strict=True)),
            inner_product=torch.stack(products).sum() / self.factor**2,
        )

    def scaled(self, scales: Mapping[str, Float[Tensor, ""]]) -> "TaskGradients":
        """Each task's gradient of the shared parameters times its scale."""
        by_task = {
            task: [None if gradient is None else scales[task] * gradient for gradient in gradients]
            for task, gradients in self.by_task.items()
        }
        return replace(self, by_task=by_task)

    def accumulate(self) -> None:
        """Add their sum to the `grad` of the parameters, as the backward pass of a loss does.

        What waits for the gradient of a parameter, such as DDP, hears of each once.
        """
        sums = dict(self.rest)
        for gradients in self.by_task.values():
            _add(sums, self.shared, gradients)
        torch.autograd.backward(list(sums), list(sums.values()))

    def _averaged(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        own = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(self.shared, gradients, strict=True)
        ]
        if num_processes() == 1:
            return own
        flat = mean_over_processes(torch.cat([gradient.flatten() for gradient in own]))
        return list(flat.split([gradient.numel() for gradient in own]))


def separate_gradients(
    total: Float[Tensor, ""],
    *,
    losses: Mapping[str, Float[Tensor, ""]],
    weights: Mapping[str, Float[Tensor, ""]],
    weight_parameters: Sequence[nn.Parameter],
    shared: Sequence[nn.Parameter],
    others: Sequence[nn.Parameter],
) -> TaskGradients:
    """Follow a multiple of sum_i w_i * L_i back, along one loss after the other.

    Args:
        total: the multiple; what else it adds depends on no loss.
        weight_parameters: what the weights are made of, where they are learned.
        shared: the parameters of the network that belong to both tasks.
        others: all its other parameters.
    """
    slopes = torch.autograd.grad(total, [*losses.values(), *weight_parameters])
    by_task = {}
    rest = dict(zip(weight_parameters, slopes[len(losses) :], strict=True))
    for (task, loss), slope in zip(losses.items(), slopes, strict=False):
        gradients = torch.autograd.grad(
            loss, [*shared, *others], grad_outputs=slope, allow_unused=True
        )
        by_task[task] = gradients[: len(shared)]
        _add(rest, others, gradients[len(shared) :])
    return TaskGradients(
        shared=shared,
        by_task=by_task,
        rest=rest,
        factor=torch.stack(slopes[: len(losses)]).sum() / torch.stack(list(weights.values())).sum(),
    )


def _add(
    sums: dict[nn.Parameter, Tensor],
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor | None],
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            sums[parameter] = sums[parameter] + gradient if parameter in sums else gradient
