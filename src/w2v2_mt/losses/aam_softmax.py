"""Additive angular margin softmax: the loss of a speaker head with a cosine classifier."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import AngularMargin, NonNegativeInt, PositiveFloat

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

    With `margin_warmup_steps` the margin grows linearly from 0 over so many optimiser steps, which
    `set_step` counts; in eval mode it is the full one, so that losses of all validations compare.

    With `inter_top_k`, the so many other classes with the largest cosines get the logit
    scale * cos(theta - inter_top_k_penalty), and scale where that angle would be negative: they
    have to stand off further.

    Source: arXiv 1801.07698, eq. 3; arXiv 2110.05042 (inter-topK penalty).
    """

    # Defaults, against the house rule, since outside tools name margin and scale alone.
    def __init__(
        self,
        margin: AngularMargin,
        scale: PositiveFloat,
        margin_warmup_steps: NonNegativeInt = 0,
        inter_top_k: NonNegativeInt = 0,
        inter_top_k_penalty: AngularMargin = 0.0,
    ):
        super().__init__()
        _check_angle("margin", margin, "0.2")
        _check_angle("inter_top_k_penalty", inter_top_k_penalty, "0.06")
        if not 0 < scale < math.inf:
            raise ValueError(
                f"scale is {scale}, but the scale is finite and above 0; use for example 30."
            )
        self.margin = margin
        self.scale = scale
        self.margin_warmup_steps = margin_warmup_steps
        self.inter_top_k = inter_top_k
        self.inter_top_k_penalty = inter_top_k_penalty
        self._step = 0

    def set_step(self, step: int) -> None:
        """Tell which optimiser step comes next, the first being 0."""
        self._step = step

    @property
    def present_margin(self) -> float:
        """The margin at this step."""
        if not self.training or self._step >= self.margin_warmup_steps:
            return self.margin
        return self.margin * self._step / self.margin_warmup_steps

    def forward(
        self, cosines: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """The mean over the batch; every label is below the number of classes."""
        cosines = cosines.to(torch.promote_types(cosines.dtype, torch.float32)).clamp(-1, 1)
        targets = labels[:, None]  # [batch, 1]
        logits = cosines.scatter(
            1, targets, _widened(cosines.gather(1, targets), self.present_margin)
        )
        if self.inter_top_k > 0:
            nearest = self._nearest(cosines, targets)  # [batch, k]
            narrowed = _narrowed(cosines.gather(1, nearest), self.inter_top_k_penalty)
            logits = logits.scatter(1, nearest, narrowed)
        return F.cross_entropy(self.scale * logits, labels)

    def _nearest(
        self, cosines: Float[Tensor, "batch classes"], targets: Int[Tensor, "batch 1"]
    ) -> Int[Tensor, "batch k"]:
        """The classes with the largest cosines, without the true one."""
        num_others = cosines.shape[1] - 1
        others = cosines.detach().scatter(1, targets, -torch.inf)
        return others.topk(min(self.inter_top_k, num_others), dim=1).indices


def _widened(
    cosines: Float[Tensor, "batch classes"], margin: float
) -> Float[Tensor, "batch classes"]:
    """cos(theta + margin), and its continuation beyond pi."""
    turned = _turned(cosines, margin)
    is_beyond = cosines < -math.cos(margin)
    return torch.where(is_beyond, cosines - margin * math.sin(margin), turned)


def _narrowed(
    cosines: Float[Tensor, "batch classes"], penalty: float
) -> Float[Tensor, "batch classes"]:
    """cos(theta - penalty), and 1 where theta is smaller."""
    turned = _turned(cosines, -penalty)
    is_beyond = cosines > math.cos(penalty)
    return torch.where(is_beyond, 1.0, turned)


def _turned(
    cosines: Float[Tensor, "batch classes"], angle: float
) -> Float[Tensor, "batch classes"]:
    """cos(theta + angle) of cos(theta), with a bounded gradient."""
    cosine = cosines.detach()
    sine = ((1 - cosine) * (1 + cosine)).sqrt()
    value = cosine * math.cos(angle) - sine * math.sin(angle)
    slope = math.cos(angle) + cosine * math.sin(angle) / sine.clamp(min=MIN_SINE)
    # The last term is zero; it carries the slope, which autograd would find infinite at +-1.
    return value + slope * (cosines - cosine)


def _check_angle(name: str, angle: float, example: str) -> None:
    if not 0 <= angle <= math.pi / 2:
        raise ValueError(
            f"{name} is {angle}, but the {name} is an angle from 0 to pi / 2; use for example "
            f"{example}."
        )
