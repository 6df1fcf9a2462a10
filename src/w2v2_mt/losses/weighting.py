"""How much each task counts in the loss of a multi-task run: one class per method.

Every class turns the losses of a step, by task, into weights, by task, through which no gradient
reaches the losses. None of them reads a number back from the device. Those that look at gradients
as well, GradNorm and PcGrad, are in gradient_weighting.py.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.constraints import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
)
from w2v2_mt.losses.gradient_weighting import GradNorm, PcGrad
from w2v2_mt.losses.loss_values import SMALLEST_LOSS, check_tasks, detached, ratio_values

ScaleMethod = Literal["static", "min", "max", "dwa", "uncertainty", "gradnorm", "pcgrad"]


class EqualWeighting(nn.Module):
    """The same weight for each task; they sum to 1."""

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        return {
            name: torch.full_like(detached(loss), 1 / len(losses)) for name, loss in losses.items()
        }


class StaticWeighting(nn.Module):
    """A fixed weight for each task, by its name.

    Raises ValueError when the losses belong to other tasks than the weights.
    """

    def __init__(self, *, weights: dict[str, float]):
        super().__init__()
        self.weights = dict(weights)

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        check_tasks(losses, self.weights)
        return {
            name: torch.full_like(detached(loss), self.weights[name])
            for name, loss in losses.items()
        }


class MinWeighting(nn.Module):
    """w_i = min_j(L_j) / L_i: every weighted loss is as large as the smallest loss."""

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        values = ratio_values(losses, list(losses))
        return dict(zip(losses, values.min() / values, strict=True))


class MaxWeighting(nn.Module):
    """w_i = max_j(L_j) / L_i: every weighted loss is as large as the largest loss."""

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        values = ratio_values(losses, list(losses))
        return dict(zip(losses, values.max() / values, strict=True))


class DynamicWeightAverage(nn.Module):
    """More weight for the task whose loss falls more slowly: weight_sum * softmax(r / temperature).

    The last `window` losses of each task are remembered, the present one among them. r is the mean
    of the newer half of those over the mean of the older half; of an odd number the middle one is
    in neither half; r is 1 until two losses are known. In eval mode nothing new is remembered, nor
    is a step with a loss that is not finite.

    Raises ValueError when the losses belong to other tasks than `task_names`.
    Source: arXiv 1803.10704, eq. 7, with steps in place of epochs.
    """

    loss_window: Tensor
    num_seen: Tensor

    def __init__(
        self,
        *,
        task_names: Sequence[str],
        weight_sum: PositiveFloat,
        temperature: PositiveFloat,
        window: PositiveInt,
    ):
        super().__init__()
        if window < 2:
            raise ValueError(
                f"window is {window}, but a newer and an older half need at least 2 losses; use "
                "for example 20."
            )
        self.task_names = list(task_names)
        self.weight_sum = weight_sum
        self.temperature = temperature
        self.window = window
        # A ring: the loss of step t lies in column t modulo window.
        self.register_buffer("loss_window", torch.zeros(len(self.task_names), window))
        self.register_buffer("num_seen", torch.tensor(0))

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        check_tasks(losses, self.task_names)
        if self.training:
            self._remember(ratio_values(losses, self.task_names))
        weights = self.weight_sum * torch.softmax(self._ratios() / self.temperature, dim=0)
        return dict(zip(self.task_names, weights, strict=True))

    def _remember(self, values: Float[Tensor, " tasks"]) -> None:
        column = (self.num_seen % self.window).reshape(1)
        # A loss that overflows once would make all weights NaN until it leaves the window.
        is_usable = values.isfinite().all()
        before = self.loss_window.index_select(1, column)
        self.loss_window.index_copy_(1, column, torch.where(is_usable, values[:, None], before))
        self.num_seen += is_usable

    def _ratios(self) -> Float[Tensor, " tasks"]:
        num_known = self.num_seen.clamp(max=self.window)
        half = num_known // 2
        columns = torch.arange(self.window, device=self.loss_window.device)
        ages = (self.num_seen - 1 - columns) % self.window  # 0 is the newest; [window]

        is_newer = ages < half
        is_older = ages >= num_known - half  # columns not yet filled as well: they hold zeros
        newer = torch.where(is_newer, self.loss_window, 0).sum(dim=1)
        older = torch.where(is_older, self.loss_window, 0).sum(dim=1)
        return torch.where(half > 0, newer / older.clamp(min=SMALLEST_LOSS), 1)


class UncertaintyWeighting(nn.Module):
    """w_i = exp(-s_i) with s_i = log(sigma_i^2) learned from the loss itself; 1 at first.

    sigma_i is the noise of task i: sum_i exp(-s_i) * L_i + s_i / 2 is minimised by the network and
    by s_i at once, whose best value for a loss that stays is log(2 * L_i). The weights carry the
    gradient of s_i; the second term is `penalty`.

    Raises ValueError when the losses belong to other tasks than `task_names`.
    Source: arXiv 1705.07115, eq. 10, whose second task, a classification as both are here, has this
    form.
    """

    def __init__(self, *, task_names: Sequence[str]):
        super().__init__()
        self.task_names = list(task_names)
        self.log_variances = nn.Parameter(torch.zeros(len(self.task_names)))

    def forward(self, losses: dict[str, Float[Tensor, ""]]) -> dict[str, Float[Tensor, ""]]:
        check_tasks(losses, self.task_names)
        return dict(zip(self.task_names, torch.exp(-self.log_variances), strict=True))

    def penalty(self) -> Float[Tensor, ""]:
        """What keeps the weights from vanishing."""
        return self.log_variances.sum() / 2


def build_weighting(
    *,
    scale_method: str | None,
    static_speech_weight: Probability,
    dwa_weight_sum: PositiveFloat,
    dwa_temperature: PositiveFloat,
    dwa_window: PositiveInt,
    weight_lr: PositiveFloat,
    gradnorm_alpha: NonNegativeFloat,
) -> nn.Module:
    """The weighting of the tasks "speech" and "speaker" by its ScaleMethod; None: equal weights.

    Raises ValueError for an unknown method.
    """
    if scale_method is None:
        return EqualWeighting()
    if scale_method == "static":
        return StaticWeighting(
            weights={"speech": static_speech_weight, "speaker": 1 - static_speech_weight}
        )
    if scale_method == "min":
        return MinWeighting()
    if scale_method == "max":
        return MaxWeighting()
    if scale_method == "dwa":
        return DynamicWeightAverage(
            task_names=["speech", "speaker"],
            weight_sum=dwa_weight_sum,
            temperature=dwa_temperature,
            window=dwa_window,
        )
    if scale_method == "uncertainty":
        return UncertaintyWeighting(task_names=["speech", "speaker"])
    if scale_method == "gradnorm":
        return GradNorm(
            task_names=["speech", "speaker"], learning_rate=weight_lr, alpha=gradnorm_alpha
        )
    if scale_method == "pcgrad":
        return PcGrad()
    methods = ", ".join(get_args(ScaleMethod))
    raise ValueError(
        f"scale_method is '{scale_method}', but the methods are {methods}; choose one of them, or "
        "null for equal weights."
    )
