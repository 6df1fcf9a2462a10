"""Reduce a sequence of frames to one embedding per utterance.

Padding never changes an embedding, whatever it holds. The embedding of an utterance without a valid
frame is zeros. Statistics are computed in float32 or a wider type; the embedding has the type of
the frames.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from w2v2_mt.core.padding import padding_mask
from w2v2_mt.core.registry import Registry
from w2v2_mt.models.frame_statistics import (
    compute_mean,
    compute_mean_and_std,
    equal_weights,
    take_frame,
    widen,
    zero_padding,
    zero_without_frames,
)
from w2v2_mt.models.shapes import Embeddings, FrameMask, Frames, LayerFrames, Lengths

NUM_ATTENTION_UNITS = 128


class Pooling(nn.Module):
    """A pooling of frames of `dim` values.

    A pooling registers a name, or is named by its dotted path in `network.stat_pooling_type`, and
    overrides `forward`. Its settings are further keyword-only parameters, keys of `network`.
    """

    class_token: ClassVar[Literal["constant", "learned"] | None] = None
    """The class token to put before the frames; it is the first of them."""

    needs_all_layers: ClassVar[bool] = False
    """Take `num_layers` as second parameter, and read the frames of all layers, stacked as the
    first dimension: the input of the first layer and the output of each."""

    accepts_selection: ClassVar[bool] = False
    """Accept `selected` in `forward`: pool only these frames, or all if none is selected."""

    out_dim: int
    """The number of values of an embedding."""

    def __init__(self, dim: int):
        super().__init__()
        self.out_dim = dim

    def forward(self, frames: LayerFrames, num_frames: Lengths) -> Embeddings:
        """Return the embeddings; only the first `num_frames` frames of an utterance are valid."""
        raise NotImplementedError


POOLINGS: Registry[type[Pooling]] = Registry("pooling", setting="network.stat_pooling_type")


@POOLINGS.register("first")
class FirstPooling(Pooling):
    """The first frame."""

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        return take_frame(torch.zeros_like(num_frames), frames, num_frames)


@POOLINGS.register("first+cls")
class ConstantTokenPooling(FirstPooling):
    """The output of the encoder at a constant class token."""

    class_token = "constant"


@POOLINGS.register("first+cls+learnable")
class LearnedTokenPooling(FirstPooling):
    """The output of the encoder at a learned class token."""

    class_token = "learned"


@POOLINGS.register("last")
class LastPooling(Pooling):
    """The last valid frame."""

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        return take_frame(num_frames - 1, frames, num_frames)


@POOLINGS.register("middle")
class MiddlePooling(Pooling):
    """The middle valid frame; of an even number, the first of the second half."""

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        return take_frame(num_frames // 2, frames, num_frames)


@POOLINGS.register("random")
class RandomPooling(MiddlePooling):
    """A random valid frame in training, the middle one in eval mode."""

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        if not self.training:
            return super().forward(frames, num_frames)
        share = torch.rand(num_frames.shape, device=num_frames.device)
        # The product can round up to the number of frames itself.
        positions = torch.minimum((share * num_frames).long(), num_frames - 1)
        return take_frame(positions, frames, num_frames)


@POOLINGS.register("max")
class MaxPooling(Pooling):
    """The largest value of each dimension."""

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        is_valid = padding_mask(num_frames, frames.shape[1])[:, :, None]
        largest = torch.where(is_valid, frames, -torch.inf).amax(dim=1)
        return zero_without_frames(largest, num_frames)


@POOLINGS.register("mean")
class MeanPooling(Pooling):
    """The mean of each dimension.

    With `selected`, over the selected valid frames only, or over all if none is selected.
    """

    accepts_selection = True
    compute = staticmethod(compute_mean)

    def forward(
        self, frames: Frames, num_frames: Lengths, selected: FrameMask | None = None
    ) -> Embeddings:
        weights = equal_weights(frames, num_frames, selected)
        return self.compute(frames, num_frames, weights).to(frames.dtype)


@POOLINGS.register("mean+std")
class MeanStdPooling(MeanPooling):
    """The mean of each dimension, then the standard deviation (of the population) of each."""

    compute = staticmethod(compute_mean_and_std)

    def __init__(self, dim: int):
        super().__init__(2 * dim)


@POOLINGS.register("quantile")
class QuantilePooling(Pooling):
    """The quantiles 0, 0.25, 0.5, 0.75 and 1 of each dimension, one quantile after the other.

    Interpolated linearly between the two nearest values, as torch.quantile does.
    """

    quantiles: Tensor

    def __init__(self, dim: int):
        super().__init__(5 * dim)
        quantiles = torch.tensor([0, 0.25, 0.5, 0.75, 1])
        self.register_buffer("quantiles", quantiles, persistent=False)

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        is_valid = padding_mask(num_frames, frames.shape[1])[:, :, None]
        rising = torch.where(is_valid, widen(frames), torch.inf).sort(dim=1).values
        last_positions = (num_frames - 1).clamp(min=0)[:, None]
        positions = self.quantiles.float() * last_positions  # [batch, quantiles]
        below, above = (
            rising.gather(1, neighbours.long()[:, :, None].expand(-1, -1, frames.shape[2]))
            for neighbours in (positions.floor(), positions.ceil())
        )  # each [batch, quantiles, dim]
        way = positions - positions.floor()
        values = torch.lerp(below, above, way.to(below.dtype)[:, :, None])
        return zero_without_frames(values.flatten(start_dim=1), num_frames).to(frames.dtype)


@POOLINGS.register("attentive")
class AttentivePooling(Pooling):
    """Mean and standard deviation of each dimension, weighted by a learned score per frame.

    The weights are the softmax of v^T tanh(W h_t + b) over the valid frames. The constant that the
    source adds to each score cancels in the softmax.

    Source: arXiv 1803.10963, eq. 1 to 5 (attentive statistics pooling).
    """

    def __init__(self, dim: int):
        super().__init__(2 * dim)
        self.hidden = nn.Linear(dim, NUM_ATTENTION_UNITS)
        self.score = nn.Linear(NUM_ATTENTION_UNITS, 1, bias=False)

    def forward(self, frames: Frames, num_frames: Lengths) -> Embeddings:
        # Zeros, as NaN in the padding would reach the gradient of the layers.
        scores = self.score(self.hidden(zero_padding(frames, num_frames)).tanh()).squeeze(2)
        scores = widen(scores)
        # Not infinite, so that the softmax of an utterance without a valid frame is finite.
        smallest = torch.finfo(scores.dtype).min
        scores = scores.masked_fill(~padding_mask(num_frames, frames.shape[1]), smallest)
        return compute_mean_and_std(frames, num_frames, scores.softmax(dim=1)).to(frames.dtype)
