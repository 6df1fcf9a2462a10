"""The loss of a multi-task run: a weighted sum of the losses of its tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.core.distributed import mean_over_processes, num_processes, sum_counts
from w2v2_mt.core.registry import loadable
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.speaker_loss import SpeakerLoss
from w2v2_mt.losses.task_gradients import GradientGeometry, compute_task_gradients
from w2v2_mt.losses.weighting import WEIGHTINGS, build_weighting
from w2v2_mt.losses.weighting_method import Losses, LossWeighting, Weights


@dataclass(frozen=True, kw_only=True)
class MultiTaskLossResult:
    """The weighted sum of one step with the penalty of learned weights, and what it was made of.

    Args:
        losses: The losses of this process, of which those of all processes have the mean that is
            trained.
        mean_losses: The losses averaged over processes, without gradient; of joint training also
            those of tasks that only other processes have.
        mean_loss: The weighted sum of these losses with the penalty, without gradient.
        weights: The weights of these tasks, without gradient.
        is_joint: True if the losses are those of joint training.
        is_one_pass: True if the losses are those of one forward pass.
    """

    loss: Float[Tensor, ""]
    losses: Losses
    mean_losses: Losses
    mean_loss: Float[Tensor, ""]
    weights: Weights
    is_joint: bool
    is_one_pass: bool

    def metrics(self) -> dict[str, Float[Tensor, ""]]:
        """Return what a step logs: with several tasks, also the loss and the weight of each."""
        losses = self.mean_losses if self.is_joint else self.losses
        metrics = {"train_loss": self.mean_loss if self.is_joint else self.loss}
        if self.is_joint or len(losses) > 1:
            for task, loss in losses.items():
                metrics[f"train_{task}_loss"] = loss
                metrics[f"train_{task}_loss_weight"] = self.weights[task]
        return metrics


class MultiTaskLoss(nn.Module):
    """sum_i w_i * L_i over the tasks of a run, one or several."""

    def __init__(
        self,
        *,
        weighting: LossWeighting,
        gradient_diagnostics_every_n_steps: PositiveInt | None = None,
    ):
        super().__init__()
        self.weighting = weighting
        self.gradient_diagnostics_every_n_steps = gradient_diagnostics_every_n_steps

    def forward(
        self,
        losses: Losses,
        num_labelled: Mapping[str, int] | None = None,
        *,
        is_one_pass: bool = False,
    ) -> MultiTaskLossResult:
        """Weight the losses of a step and add them up.

        Args:
            losses: The mean loss of each task that has a label in this process.
            num_labelled: The number of utterances of which a loss is the mean, 0 for a task without
                a loss, in joint training. Each utterance of all processes then counts the same.
                None: each process has a loss of each task, which count the same.
            is_one_pass: State that all losses are those of one forward pass, as in joint training.
        """
        tasks = list(losses)
        if num_labelled is not None and num_processes() > 1:
            totals = dict(zip(num_labelled, sum_counts(list(num_labelled.values())), strict=True))
            tasks = [task for task, total in totals.items() if total > 0]
            # DDP averages gradients over all processes, those without a label included.
            losses = {
                task: loss * (num_processes() * num_labelled[task] / totals[task])
                for task, loss in losses.items()
            }
        zero = torch.zeros_like(next(iter(losses.values())))
        # The same in each process, so that the weights are as well.
        means = mean_over_processes(torch.stack([losses.get(task, zero) for task in tasks]))
        mean_losses = dict(zip(tasks, means, strict=True))
        weights = self.weighting(mean_losses)
        penalty = self.weighting.penalty()

        def weighted_sum(addends: Losses) -> Float[Tensor, ""]:
            return torch.stack([weights[task] * addends[task] for task in addends]).sum() + penalty

        return MultiTaskLossResult(
            loss=weighted_sum(losses),
            losses=losses,
            mean_losses=mean_losses,
            mean_loss=weighted_sum(mean_losses).detach(),
            weights={task: weights[task].detach() for task in tasks},
            is_joint=num_labelled is not None,
            is_one_pass=is_one_pass or num_labelled is not None,
        )

    def is_comparison(self, step: int) -> bool:
        """Return True if the gradients of the tasks are compared after this many steps."""
        interval = self.gradient_diagnostics_every_n_steps
        return interval is not None and (step + 1) % interval == 0

    def backward_per_task(
        self,
        total: Float[Tensor, ""],
        result: MultiTaskLossResult,
        *,
        shared: Sequence[nn.Parameter],
        unshared: Sequence[nn.Parameter],
    ) -> GradientGeometry:
        """Backpropagate each loss by itself, and let the weighting scale the gradients.

        `total` is `result.loss` or a multiple of it; the other arguments are the parameters of the
        network that all tasks train, and the rest. Returns the geometry before scaling.
        """
        gradients = compute_task_gradients(
            total,
            losses=result.losses,
            weights=result.weights,
            weight_parameters=list(self.weighting.parameters()),
            shared=shared,
            unshared=unshared,
            is_one_pass=result.is_one_pass,
        )
        geometry = gradients.geometry()
        gradients.accumulate(self.weighting.gradient_scales(result.mean_losses, geometry))
        return geometry


@loadable
class MultiTaskLossSettings:
    """The settings `optim.loss` of a multi-task run; `options` are the parameters of weightings."""

    def __init__(
        self,
        *,
        ctc_loss: CtcLoss,
        speaker_loss: SpeakerLoss,
        scale_method: Annotated[str | None, WEIGHTINGS],
        gradient_diagnostics_every_n_steps: PositiveInt | None,
        **options: object,
    ):
        self.ctc_loss = ctc_loss
        self.speaker_loss = speaker_loss
        self.scale_method = scale_method
        self.gradient_diagnostics_every_n_steps = gradient_diagnostics_every_n_steps
        self.options = options

    def build(self, task_names: Sequence[str]) -> MultiTaskLoss:
        """Return the loss of a run with these tasks."""
        return MultiTaskLoss(
            weighting=build_weighting(self.scale_method, task_names, self.options),
            gradient_diagnostics_every_n_steps=self.gradient_diagnostics_every_n_steps,
        )
