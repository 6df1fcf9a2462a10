"""Per-task gradients for the price of the one backward pass of the sum of the losses.

The batches of the tasks pass through the network one after the other, so their graphs meet in
parameters only: following one graph after the other costs what following all of them at once
costs. In joint training, and if tasks are packed, the graphs have a common part, which is followed
once per task. No value is read back from the device.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from w2v2_mt.core.distributed import mean_over_processes, num_processes


@dataclass(frozen=True, kw_only=True)
class GradientGeometry:
    """Lengths and angles of the gradients of weighted losses, w_i * L_i.

    A factor common to all, such as that of a GradScaler, is taken out.

    There is one inner product for each pair of tasks, in the order of `norms`.
    """

    norms: dict[str, Float[Tensor, ""]]
    inner_products: dict[tuple[str, str], Float[Tensor, ""]]

    def inner_product(self, task: str, other: str) -> Float[Tensor, ""]:
        """Return the inner product of two tasks in either order; of one task, its square."""
        if task == other:
            return self.norms[task].square()
        pair = (task, other)
        return self.inner_products[pair if pair in self.inner_products else (other, task)]

    def metrics(self) -> dict[str, float]:
        """Return what a comparison logs: the norm of each task and the cosine of each pair."""
        metrics = {f"train_{task}_gradient_norm": float(norm) for task, norm in self.norms.items()}
        for pair, cosine in self.cosines().items():
            pair_name = "" if len(self.norms) == 2 else f"{'_'.join(pair)}_"
            metrics[f"train_{pair_name}gradient_cosine"] = float(cosine)
        return metrics

    def cosines(self) -> dict[tuple[str, str], Float[Tensor, ""]]:
        """Return the cosine of each pair of tasks, 0 where a task has no gradient."""
        products = {pair: self.norms[pair[0]] * self.norms[pair[1]] for pair in self.inner_products}
        return {
            pair: torch.where(product > 0, self.inner_products[pair] / product, 0)
            for pair, product in products.items()
        }


@dataclass(frozen=True, kw_only=True)
class TaskGradients:
    """The gradients of one batch of each task.

    Args:
        by_task: A gradient for each of the shared parameters, None where a task did not reach it.
        rest: The gradients of all other parameters.
        factor: What all gradients were multiplied with in addition to the weights of their losses.
    """

    shared: Sequence[nn.Parameter]
    by_task: Mapping[str, Sequence[Tensor | None]]
    rest: dict[nn.Parameter, Tensor]
    factor: Float[Tensor, ""]

    def geometry(self) -> GradientGeometry:
        """Return the geometry of the shared part, averaged over processes first.

        A parameter that a task did not reach, such as one of a dropped layer, counts as zeros.
        """
        averages = {task: self._average(gradients) for task, gradients in self.by_task.items()}
        inner_products = {}
        for task, other in combinations(averages, 2):
            products = [
                torch.dot(one.flatten(), another.flatten())
                for one, another in zip(averages[task], averages[other], strict=True)
            ]
            inner_products[task, other] = torch.stack(products).sum() / self.factor**2
        norms = {task: get_total_norm(each) / self.factor for task, each in averages.items()}
        return GradientGeometry(norms=norms, inner_products=inner_products)

    def accumulate(self, scales: Mapping[str, Float[Tensor, ""]] | None = None) -> None:
        """Add their sum to the `grad` of the parameters, as the backward pass of a loss does.

        Hooks of a parameter, such as those of DDP, are called once. `scales` are factors of the
        gradients of the shared parameters by task, 1 by default.
        """
        sums = dict(self.rest)
        for task, gradients in self.by_task.items():
            _add(sums, self.shared, gradients, None if scales is None else scales[task])
        torch.autograd.backward(list(sums), list(sums.values()))

    def _average(self, gradients: Sequence[Tensor | None]) -> list[Tensor]:
        own = [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(self.shared, gradients, strict=True)
        ]
        if num_processes() == 1:
            return own
        flat = mean_over_processes(torch.cat([gradient.flatten() for gradient in own]))
        return list(flat.split([gradient.numel() for gradient in own]))


def compute_task_gradients(
    total: Float[Tensor, ""],
    *,
    losses: Mapping[str, Float[Tensor, ""]],
    weights: Mapping[str, Float[Tensor, ""]],
    weight_parameters: Sequence[nn.Parameter],
    shared: Sequence[nn.Parameter],
    unshared: Sequence[nn.Parameter],
    is_one_pass: bool = False,
) -> TaskGradients:
    """Backpropagate `total`, a multiple of sum_i w_i * L_i, one loss after the other.

    What else the total adds depends on no loss. The weights w_i are without gradient; they are
    learned by the `weight_parameters`. Tasks that have a weight but no loss in this process have no
    gradient here. `is_one_pass` states that the graphs of the losses have a common part.
    """
    slopes = torch.autograd.grad(total, [*losses.values(), *weight_parameters])
    by_task: dict[str, Sequence[Tensor | None]] = dict.fromkeys(weights, [None] * len(shared))
    rest = dict(zip(weight_parameters, slopes[len(losses) :], strict=True))
    for (task, loss), slope in zip(losses.items(), slopes, strict=False):
        is_last = task == list(losses)[-1]
        gradients = torch.autograd.grad(
            loss,
            [*shared, *unshared],
            grad_outputs=slope,
            allow_unused=True,
            retain_graph=is_one_pass and not is_last,
        )
        by_task[task] = gradients[: len(shared)]
        _add(rest, unshared, gradients[len(shared) :])
    own_weights = torch.stack([weights[task] for task in losses])
    factor = torch.stack(slopes[: len(losses)]).sum() / own_weights.sum()
    return TaskGradients(shared=shared, by_task=by_task, rest=rest, factor=factor)


def _add(
    sums: dict[nn.Parameter, Tensor],
    parameters: Sequence[nn.Parameter],
    gradients: Sequence[Tensor | None],
    scale: Tensor | None = None,
) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is not None:
            gradient = gradient if scale is None else scale * gradient
            sums[parameter] = sums[parameter] + gradient if parameter in sums else gradient
