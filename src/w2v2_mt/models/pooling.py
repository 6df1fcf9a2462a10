"""Reduce a sequence of frames to one embedding per utterance.

Frames behind an utterance's last real one never matter, whatever they hold. An utterance without
a real frame gets an embedding of zeros. Statistics are computed in float32 at least; the embedding
has the type of the frames.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.core.padding import real_mask
from w2v2_mt.models.frame_statistics import (
    equal_weights,
    for_statistics,
    frame_at,
    weighted_mean,
    weighted_std,
    zeros_behind,
    zeros_without_frames,
)

PoolingName = Literal[
    "first",
    "first+cls",
    "first+cls+learnable",
    "last",
    "middle",
    "random",
    "max",
    "mean",
    "mean+std",
    "quantile",
    "attentive",
]

NUM_ATTENTION_UNITS = 128


class FirstPooling(nn.Module):
    """The first frame, which is the class token where the encoder puts one before the frames."""

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        return frame_at(torch.zeros_like(num_frames), frames, num_frames)


class LastPooling(nn.Module):
    """The last real frame."""

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        return frame_at(num_frames - 1, frames, num_frames)


class MiddlePooling(nn.Module):
    """The middle real frame; of an even number, the first of the second half."""

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        return frame_at(num_frames // 2, frames, num_frames)


class RandomPooling(nn.Module):
    """In training any real frame, each as likely as the other; in eval mode the middle one."""

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        if not self.training:
            return frame_at(num_frames // 2, frames, num_frames)
        share = torch.rand(num_frames.shape, device=num_frames.device)
        # The product can round up to the number of frames itself.
        positions = torch.minimum((share * num_frames).long(), num_frames - 1)
        return frame_at(positions, frames, num_frames)


class MaxPooling(nn.Module):
    """The largest value of each dimension."""

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        is_real = real_mask(num_frames, frames.shape[1])[:, :, None]
        largest = torch.where(is_real, frames, -torch.inf).amax(dim=1)
        return zeros_without_frames(largest, num_frames)


class MeanPooling(nn.Module):
    """The mean of each dimension.

    With `selected`, over the selected real frames only; over all real ones where there are none.
    """

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = dim

    def forward(
        self,
        frames: Float[Tensor, "batch time dim"],
        num_frames: Int[Tensor, " batch"],
        selected: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch dim"]:
        weights = equal_weights(frames, num_frames, selected)
        return weighted_mean(frames, num_frames, weights).to(frames.dtype)


class MeanStdPooling(nn.Module):
    """The mean of each dimension, then the standard deviation (of the population) of each.

    With `selected`, over the selected real frames only; over all real ones where there are none.
    """

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = 2 * dim

    def forward(
        self,
        frames: Float[Tensor, "batch time dim"],
        num_frames: Int[Tensor, " batch"],
        selected: Bool[Tensor, "batch time"] | None = None,
    ) -> Float[Tensor, "batch out_dim"]:
        weights = equal_weights(frames, num_frames, selected)
        mean = weighted_mean(frames, num_frames, weights)
        std = weighted_std(frames, num_frames, weights, mean=mean)
        return torch.cat([mean, std], dim=1).to(frames.dtype)


class QuantilePooling(nn.Module):
    """The quantiles 0, 0.25, 0.5, 0.75 and 1 of each dimension, one quantile after the other.

    Linear between the two nearest values, as torch.quantile.
    """

    quantiles: Tensor

    def __init__(self, dim: PositiveInt):
        super().__init__()
        quantiles = torch.tensor([0, 0.25, 0.5, 0.75, 1])
        self.register_buffer("quantiles", quantiles, persistent=False)
        self.out_dim = len(quantiles) * dim

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch out_dim"]:
        is_real = real_mask(num_frames, frames.shape[1])[:, :, None]
        rising = torch.where(is_real, for_statistics(frames), torch.inf).sort(dim=1).values

        last_positions = (num_frames - 1).clamp(min=0)[:, None]
        positions = self.quantiles.float() * last_positions  # [batch, quantiles]
        below, above = (
            rising.gather(1, neighbours.long()[:, :, None].expand(-1, -1, frames.shape[2]))
            for neighbours in (positions.floor(), positions.ceil())
        )  # each [batch, quantiles, dim]
        way = positions - positions.floor()
        values = torch.lerp(below, above, way.to(below.dtype)[:, :, None])
        return zeros_without_frames(values.flatten(start_dim=1), num_frames).to(frames.dtype)


class AttentivePooling(nn.Module):
    """Mean and standard deviation of each dimension, weighted by a learned score per frame.

    The weights are the softmax of v^T tanh(W h_t + b) over the real frames. The constant that the
    source adds to each score cancels in the softmax.

    Source: arXiv 1803.10963, eq. 1 to 5 (attentive statistics pooling).
    """

    def __init__(self, dim: PositiveInt):
        super().__init__()
        self.out_dim = 2 * dim
        self.hidden = nn.Linear(dim, NUM_ATTENTION_UNITS)
        self.score = nn.Linear(NUM_ATTENTION_UNITS, 1, bias=False)

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch out_dim"]:
        is_real = real_mask(num_frames, frames.shape[1])
        # Zeros, since NaN behind the last real frame would reach the gradient of the layers.
        scores = self.score(self.hidden(zeros_behind(frames, num_frames)).tanh()).squeeze(2)
        scores = for_statistics(scores)
        # Not infinite: of an utterance without a real frame the softmax stays finite.
        scores = scores.masked_fill(~is_real, torch.finfo(scores.dtype).min)
        weights = scores.softmax(dim=1)
        mean = weighted_mean(frames, num_frames, weights)
        std = weighted_std(frames, num_frames, weights, mean=mean)
        return torch.cat([mean, std], dim=1).to(frames.dtype)


Pooling = (
    FirstPooling
    | LastPooling
    | MiddlePooling
    | RandomPooling
    | MaxPooling
    | MeanPooling
    | MeanStdPooling
    | QuantilePooling
    | AttentivePooling
)

POOLINGS: dict[str, type[Pooling]] = {
    "first": FirstPooling,
    "first+cls": FirstPooling,
    "first+cls+learnable": FirstPooling,
    "last": LastPooling,
    "middle": MiddlePooling,
    "random": RandomPooling,
    "max": MaxPooling,
    "mean": MeanPooling,
    "mean+std": MeanStdPooling,
    "quantile": QuantilePooling,
    "attentive": AttentivePooling,
}


def build_pooling(name: str, dim: PositiveInt) -> Pooling:
    """The pooling of frames of `dim` values by its PoolingName; ValueError for any other name."""
    if name not in POOLINGS:
        raise ValueError(
            f"stat_pooling_type is '{name}', but the poolings are {', '.join(POOLINGS)}; choose "
            "one of them."
        )
    return POOLINGS[name](dim)
