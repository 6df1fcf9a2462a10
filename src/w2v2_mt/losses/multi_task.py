"""The loss of a multi-task run: one scalar from the losses of the speech and the speaker task."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import (
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    Probability,
    SeveralInt,
)
from w2v2_mt.core.processes import mean_over_processes
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.gradient_weighting import GradientWeighting
from w2v2_mt.losses.task_gradients import GradientGeometry, separate_gradients
from w2v2_mt.losses.weighting import ScaleMethod, UncertaintyWeighting, build_weighting


@dataclass(frozen=True, kw_only=True)
class MultiTaskLossResult:
    """The weighted sum, and what went into it by task ("speech", "speaker").

    `losses` still carry their gradient, `weights` and `mean_losses`, the losses averaged over
    processes, have none. With learned weights `loss` holds their penalty, too.
    """

    loss: Float[Tensor, ""]
    losses: dict[str, Float[Tensor, ""]]
    mean_losses: dict[str, Float[Tensor, ""]]
    weights: dict[str, Float[Tensor, ""]]
    num_unalignable: Int[Tensor, ""]


class MultiTaskLoss(nn.Module):
    """sum_i w_i * L_i over speech and speaker, weighted by `scale_method` (see weighting.py).

    Args:
        weight_lr: the learning rate of weights that are learned.
        gradient_diagnostics_every_n_steps: how often the gradients of both tasks are compared; None
            for never.
    """

    def __init__(
        self,
        *,
        ctc_loss: CtcLoss,
        speaker_loss: AamSoftmaxLoss | CrossEntropyLoss,
        scale_method: ScaleMethod | None,
        static_speech_weight: Probability,
        dwa_weight_sum: PositiveFloat,
        dwa_temperature: PositiveFloat,
        dwa_window: SeveralInt,
        weight_lr: PositiveFloat,
        gradnorm_alpha: NonNegativeFloat,
        gradient_diagnostics_every_n_steps: PositiveInt | None,
    ):
        super().__init__()
        self.ctc_loss = ctc_loss
        self.speaker_loss = speaker_loss
        self.weighting = build_weighting(
            scale_method=scale_method,
            static_speech_weight=static_speech_weight,
            dwa_weight_sum=dwa_weight_sum,
            dwa_temperature=dwa_temperature,
            dwa_window=dwa_window,
            weight_lr=weight_lr,
            gradnorm_alpha=gradnorm_alpha,
        )
        self.weight_lr = weight_lr
        self.gradient_diagnostics_every_n_steps = gradient_diagnostics_every_n_steps

    def forward(
        self,
        speech_logits: Float[Tensor, "speech_batch time classes"],
        num_frames: Int[Tensor, " speech_batch"],
        letters: Int[Tensor, "speech_batch letters"],
        num_letters: Int[Tensor, " speech_batch"],
        speaker_logits: Float[Tensor, "speaker_batch speakers"],
        speaker_indices: Int[Tensor, " speaker_batch"],
    ) -> MultiTaskLossResult:
        speech = self.ctc_loss(speech_logits, num_frames, letters, num_letters)
        losses = {
            "speech": speech.loss,
            "speaker": self.speaker_loss(speaker_logits, speaker_indices),
        }
        # The same in each process, so that the weights are as well.
        means = mean_over_processes(torch.stack(list(losses.values())))
        mean_losses = dict(zip(losses, means, strict=True))
        weights = self.weighting(mean_losses)
        total = weights["speech"] * losses["speech"] + weights["speaker"] * losses["speaker"]
        if isinstance(self.weighting, UncertaintyWeighting):
            total = total + self.weighting.penalty()
        return MultiTaskLossResult(
            loss=total,
            losses=losses,
            mean_losses=mean_losses,
            weights={task: weight.detach() for task, weight in weights.items()},
            num_unalignable=speech.num_unalignable,
        )

    @property
    def needs_gradients_apart(self) -> bool:
        """Whether `backward_apart` takes the place of the backward pass at every step."""
        return isinstance(self.weighting, GradientWeighting)

    def backward_apart(
        self,
        total: Float[Tensor, ""],
        result: MultiTaskLossResult,
        *,
        shared: Sequence[nn.Parameter],
        others: Sequence[nn.Parameter],
    ) -> GradientGeometry:
        """The backward pass, with the gradients of both tasks apart until the weighting saw them.

        Args:
            total: `result.loss`, or a multiple of it.
            shared: the parameters of the network that both tasks train.
            others: all its other parameters.
        """
        gradients = separate_gradients(
            total,
            losses=result.losses,
            weights=result.weights,
            weight_parameters=list(self.weighting.parameters()),
            shared=shared,
            others=others,
        )
        geometry = gradients.geometry()
        if isinstance(self.weighting, GradientWeighting):
            scales = self.weighting.shared_scales(result.mean_losses, geometry)
            if scales is not None:
                gradients = gradients.scaled(scales)
        gradients.accumulate()
        return geometry
