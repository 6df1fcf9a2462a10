"""Additive angular margin softmax: the loss of a speaker head with a cosine classifier."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import NonNegativeFloat, PositiveFloat

MIN_SINE = 1e-2
"""The derivative of cos(theta + m) by cos(theta) holds sin(m) / sin(theta), infinite where theta is
0 or pi; the sine in it is kept above this, which also fits a scaled gradient into 16 bits."""


class AamSoftmaxLoss(nn.Module):
    """Cross entropy of cosines, after the angle to the true class was widened by a margin.

    The true class gets the logit scale * cos(theta + margin), every other scale * cos(theta). Where
    theta + margin exceeds pi, scale * (cos(theta) - margin * sin(margin)) continues it, so that a
    larger angle always means a smaller logit; this holds for margins up to pi / 2, more is a
    ValueError. Computed in float32 (float64 for float64 cosines); the value is exact, the gradient
    is bounded.

    Source: arXiv 1801.07698, eq. 3.
    """

    def __init__(self, margin: NonNegativeFloat, scale: PositiveFloat):
        super().__init__()
        if not 0 <= margin <= math.pi / 2:
            raise ValueError(
                f"margin is {margin}, but the margin is an angle from 0 to pi / 2; use for example "
                "0.2."
            )
        if not 0 < scale < math.inf:
            raise ValueError(
                f"scale is {scale}, but the scale is finite and above 0; use for example 30."
            )
        self.margin = margin
        self.scale = scale

    def forward(
        self, cosines: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """The mean over the batch; every label is below the number of classes."""
        cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32)).clamp(-1, 1)
        targets = labels[:, None]  # [batch, 1]
        widened = self._widened(cosines.gather(1, targets))  # [batch, 1]
        return F.cross_entropy(self.scale * cosines.scatter(1, targets, widened), labels)

    def _widened(self, cosines: Float[Tensor, "batch 1"]) -> Float[Tensor, "batch 1"]:
        cosine_of_margin, sine_of_margin = math.cos(self.margin), math.sin(self.margin)
        cosine = cosines.detach()
        sine = ((1 - cosine) * (1 + cosine)).sqrt()
        within_pi = cosine >= -cosine_of_margin

        value = torch.where(
            within_pi,
            cosine * cosine_of_margin - sine * sine_of_margin,
            cosine - self.margin * sine_of_margin,
        )
        slope = torch.where(
            within_pi,
            cosine_of_margin + cosine * sine_of_margin / sine.clamp(min=MIN_SINE),
            1.0,
        )
        # The last term is zero; it carries the slope, which autograd would find infinite at +-1.
        return value + slope * (cosines - cosine)
