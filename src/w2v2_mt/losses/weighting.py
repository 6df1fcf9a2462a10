"""The methods that weight the losses of a multi-task run, but for those that use gradients."""

from collections.abc import Collection, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.constraints import PositiveFloat, Probability, SeveralInt
from w2v2_mt.core.registry import parameters_of
from w2v2_mt.losses.gradient_weighting import GradNorm as GradNorm
from w2v2_mt.losses.gradient_weighting import PcGrad as PcGrad
from w2v2_mt.losses.weighting_method import (
    SMALLEST_LOSS,
    Losses,
    Weights,
    check_tasks,
    stack_losses,
)
from w2v2_mt.losses.weighting_method import WEIGHTINGS as WEIGHTINGS
from w2v2_mt.losses.weighting_method import EqualWeighting as EqualWeighting
from w2v2_mt.losses.weighting_method import LossWeighting as LossWeighting


@WEIGHTINGS.register("static")
class StaticWeighting(LossWeighting):
    """A fixed weight for the speech task; the other tasks share the rest, so that they sum to 1."""

    def __init__(self, task_names: Sequence[str] = (), *, static_speech_weight: Probability):
        super().__init__(task_names)
        self.speech_weight = static_speech_weight

    def forward(self, losses: Losses) -> Weights:
        tasks = self.task_names or list(losses)
        if "speech" not in tasks:
            raise ValueError(
                f"scale_method (static) must weight the task speech, but the tasks are "
                f"{', '.join(tasks)}. Choose another method."
            )
        rest = (1 - self.speech_weight) / max(len(tasks) - 1, 1)
        weights = dict.fromkeys(losses, rest) | {"speech": self.speech_weight}
        return {
            task: torch.full_like(losses[task].detach().float(), weights[task]) for task in losses
        }


@WEIGHTINGS.register("min")
class MinWeighting(LossWeighting):
    """w_i = min_j(L_j) / L_i: every weighted loss is as large as the smallest loss."""

    def forward(self, losses: Losses) -> Weights:
        values = stack_losses(losses, losses)
        return dict(zip(losses, values.min() / values, strict=True))


@WEIGHTINGS.register("max")
class MaxWeighting(LossWeighting):
    """w_i = max_j(L_j) / L_i: every weighted loss is as large as the largest loss."""

    def forward(self, losses: Losses) -> Weights:
        values = stack_losses(losses, losses)
        return dict(zip(losses, values.max() / values, strict=True))


@WEIGHTINGS.register("dwa")
class DynamicWeightAverage(LossWeighting):
    """More weight for the task whose loss falls more slowly: weight_sum * softmax(r / temperature).

    The weights of a step depend on the losses of the last `dwa_window` steps before it. r is the
    mean of the newer half of those over the mean of the older half; of an odd number the middle one
    is in neither half; r is 1 until two losses are known. In eval mode nothing new is kept, nor is
    a step with a loss that is not finite. A task without a loss in a step repeats its last one.

    Source: arXiv 1803.10704, eq. 7, with steps in place of epochs.
    """

    loss_window: Tensor
    num_seen: Tensor

    def __init__(
        self,
        task_names: Sequence[str],
        *,
        dwa_weight_sum: PositiveFloat,
        dwa_temperature: PositiveFloat,
        dwa_window: SeveralInt,
    ):
        super().__init__(task_names)
        if dwa_window < 2:
            raise ValueError(f"dwa_window ({dwa_window}) must be at least 2. Use for example 20.")
        self.weight_sum = dwa_weight_sum
        self.temperature = dwa_temperature
        self.window = dwa_window
        # A ring: the loss of step t lies in column t modulo window.
        self.register_buffer("loss_window", torch.zeros(len(self.task_names), dwa_window))
        self.register_buffer("num_seen", torch.tensor(0))

    def forward(self, losses: Losses) -> Weights:
        check_tasks(losses, self.task_names)
        if len(losses) < len(self.task_names):
            losses = {**self._last_losses(), **losses}
        values = stack_losses(losses, self.task_names)
        weights = self.weight_sum * torch.softmax(self._compute_ratios() / self.temperature, dim=0)
        if self.training:
            self._keep(values)
        return dict(zip(self.task_names, weights, strict=True))

    def _last_losses(self) -> Weights:
        """Return the last loss of each task, NaN for a task that never had one."""
        column = (self.num_seen - 1).clamp(min=0) % self.window
        last = self.loss_window.index_select(1, column.reshape(1))[:, 0]
        return dict(zip(self.task_names, torch.where(last > 0, last, torch.nan), strict=True))

    def _keep(self, values: Float[Tensor, " tasks"]) -> None:
        column = (self.num_seen % self.window).reshape(1)
        # A loss that overflows once would make all weights NaN until it leaves the window.
        is_usable = values.isfinite().all()
        # Before the first step with all losses, the first column holds those that are known.
        is_kept = is_usable | (values.isfinite() & (self.num_seen == 0))
        before = self.loss_window.index_select(1, column)
        kept = torch.where(is_kept[:, None], values[:, None], before)
        self.loss_window.index_copy_(1, column, kept)
        self.num_seen += is_usable

    def _compute_ratios(self) -> Float[Tensor, " tasks"]:
        num_known = self.num_seen.clamp(max=self.window)
        half = num_known // 2
        columns = torch.arange(self.window, device=self.loss_window.device)
        ages = (self.num_seen - 1 - columns) % self.window  # 0 is the newest; [window]
        is_older = ages >= num_known - half  # columns not yet filled as well: they hold zeros
        newer = torch.where(ages < half, self.loss_window, 0).sum(dim=1)
        older = torch.where(is_older, self.loss_window, 0).sum(dim=1)
        return torch.where(half > 0, newer / older.clamp(min=SMALLEST_LOSS), 1)


@WEIGHTINGS.register("uncertainty")
class UncertaintyWeighting(LossWeighting):
    """w_i = exp(-s_i) with s_i = log(sigma_i^2) learned from the loss itself; 1 at first.

    sigma_i is the noise of task i: sum_i exp(-s_i) * L_i + s_i / 2 is minimized over the network
    and s_i at once; for a constant loss the best s_i is log(2 * L_i). The weights carry the
    gradient of s_i; the second term is `penalty`.

    Source: arXiv 1705.07115, eq. 10, whose second task, a classification as the tasks here, has
    this form.
    """

    def __init__(self, task_names: Sequence[str], *, weight_lr: PositiveFloat):
        super().__init__(task_names)
        self.weight_lr = weight_lr
        self.log_variances = nn.Parameter(torch.zeros(len(self.task_names)))
        self._tasks: Collection[str] = self.task_names  # that have a loss in this step

    def forward(self, losses: Losses) -> Weights:
        check_tasks(losses, self.task_names)
        self._tasks = list(losses)
        return dict(zip(self.task_names, torch.exp(-self.log_variances), strict=True))

    def penalty(self) -> Float[Tensor, ""]:
        """Return sum_i s_i / 2 over the tasks of this step, so that their weights do not vanish."""
        penalised = zip(self.task_names, self.log_variances, strict=True)
        return torch.stack([each for task, each in penalised if task in self._tasks]).sum() / 2


def build_weighting(
    scale_method: str | None, task_names: Sequence[str], options: Mapping[str, object]
) -> LossWeighting:
    """Return the weighting of these tasks; parameters of other methods in `options` are ignored."""
    method = EqualWeighting if scale_method is None else WEIGHTINGS.find(scale_method)
    declared = parameters_of(method)
    for name, parameter in declared.items():
        if name not in options and parameter.default is parameter.empty:
            raise ValueError(
                f"scale_method ({scale_method}) must have the setting {name}. Add "
                f"+optim.loss.{name}=<value>."
            )
    return method(task_names, **{name: options[name] for name in declared if name in options})
