"""Additive angular margin softmax: the loss of a speaker head with a cosine classifier."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.constraints import AngularMargin, NonNegativeInt, PositiveFloat
from w2v2_mt.losses.speaker_loss import SPEAKER_LOSSES, Labels, Logits, SpeakerLoss

MIN_SINE = 1e-2
"""Lower bound of sin(theta) in the gradient.

The derivative of cos(theta + m) by cos(theta) contains sin(m) / sin(theta), infinite where theta is
0 or pi. Bounded, it fits into 16 bits when a GradScaler has multiplied it."""


@SPEAKER_LOSSES.register("aam_softmax")
class AamSoftmaxLoss(SpeakerLoss):
    """Cross entropy of cosines, with a margin added to the angle to the true class.

    The true class gets the logit scale * cos(theta + margin), every other scale * cos(theta). Where
    theta + margin exceeds pi, scale * (cos(theta) - margin * sin(margin)) continues it, so that a
    larger angle always means a smaller logit. Computed in float32 (float64 for float64 cosines);
    the value is exact, the gradient is bounded.

    The `inter_top_k` other classes with the largest cosines get the logit
    scale * cos(theta - inter_top_k_penalty), and scale where that angle would be negative. Angles
    are in radians. In eval mode the margin is always the full one, so that the losses of all
    validations compare.

    Source: arXiv 1801.07698, eq. 3; arXiv 2110.05042 (inter-topK penalty).
    """

    takes_cosines = True

    # Outside tools pass margin and scale only, so the others have defaults.
    def __init__(
        self,
        margin: AngularMargin,
        scale: PositiveFloat,
        margin_warmup_steps: NonNegativeInt = 0,
        inter_top_k: NonNegativeInt = 0,
        inter_top_k_penalty: AngularMargin = 0.0,
    ):
        super().__init__()
        angles = (("margin", margin, 0.2), ("inter_top_k_penalty", inter_top_k_penalty, 0.06))
        for name, angle, example in angles:
            if not 0 <= angle <= math.pi / 2:
                raise ValueError(
                    f"{name} ({angle}) must be from 0 to pi / 2 radians. Use for example {example}."
                )
        if not 0 < scale < math.inf:
            raise ValueError(f"scale ({scale}) must be finite and above 0. Use for example 30.")
        self.margin = margin
        self.scale = scale
        self.margin_warmup_steps = margin_warmup_steps
        self.inter_top_k = inter_top_k
        self.inter_top_k_penalty = inter_top_k_penalty
        self._step = 0

    def set_step(self, step: int) -> None:
        """Set the number of optimizer steps taken so far."""
        self._step = step

    @property
    def present_margin(self) -> float:
        """Return the margin at this step."""
        if not self.training or self._step >= self.margin_warmup_steps:
            return self.margin
        return self.margin * self._step / self.margin_warmup_steps

    def forward(self, logits: Logits, labels: Labels) -> Float[Tensor, ""]:
        """Return the mean over the batch of cosines; every label is below the number of classes."""
        cosines = logits.to(torch.promote_types(logits.dtype, torch.float32)).clamp(-1, 1)
        labels_column, margin = labels[:, None], self.present_margin
        true = cosines.gather(1, labels_column)  # [batch, 1]
        rotated = _rotate(true, margin)
        is_beyond_pi = true < -math.cos(margin)
        with_margin = torch.where(is_beyond_pi, true - margin * math.sin(margin), rotated)
        logits = cosines.scatter(1, labels_column, with_margin)
        if self.inter_top_k > 0:
            others = cosines.detach().scatter(1, labels_column, -torch.inf)
            num_nearest = min(self.inter_top_k, cosines.shape[1] - 1)
            nearest = others.topk(num_nearest, dim=1).indices  # [batch, num_nearest]
            near = cosines.gather(1, nearest)
            rotated = _rotate(near, -self.inter_top_k_penalty)
            is_below_zero = near > math.cos(self.inter_top_k_penalty)
            logits = logits.scatter(1, nearest, torch.where(is_below_zero, 1.0, rotated))
        return F.cross_entropy(self.scale * logits, labels)


def _rotate(cosines: Logits, angle: float) -> Logits:
    """Return cos(theta + angle) of cos(theta), with a bounded gradient."""
    cosine = cosines.detach()
    sine = ((1 - cosine) * (1 + cosine)).sqrt()
    value = cosine * math.cos(angle) - sine * math.sin(angle)
    slope = math.cos(angle) + cosine * math.sin(angle) / sine.clamp(min=MIN_SINE)
    # The last term is zero; it carries the slope, which autograd would find infinite at +-1.
    return value + slope * (cosines - cosine)
