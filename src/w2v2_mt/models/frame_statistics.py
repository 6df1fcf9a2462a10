"""What poolings compute of an utterance's real frames."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from w2v2_mt.core.padding import is_known_unpadded, real_mask

SMALLEST_VARIANCE = 1e-10
"""Keeps the gradient of a standard deviation finite where all frames are equal."""


def frame_at(
    positions: Int[Tensor, " batch"],
    frames: Float[Tensor, "batch time dim"],
    num_frames: Int[Tensor, " batch"],
) -> Float[Tensor, "batch dim"]:
    """One frame per utterance; zeros where there is none."""
    indices = positions.long().clamp(min=0)[:, None, None].expand(-1, 1, frames.shape[2])
    return zeros_without_frames(frames.gather(1, indices).squeeze(1), num_frames)


def equal_weights(
    frames: Float[Tensor, "batch time dim"],
    num_frames: Int[Tensor, " batch"],
    selected: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time"]:
    """The same weight for each real frame, with a sum of 1 per utterance.

    With `selected`, only the selected real frames have weight; all real ones where there are none.
    """
    is_used = real_mask(num_frames, frames.shape[1])
    if selected is not None:
        is_selected = is_used & selected
        is_used = is_selected | (is_used & ~is_selected.any(dim=1, keepdim=True))
    return is_used / is_used.sum(dim=1, keepdim=True).clamp(min=1)


def weighted_mean(
    frames: Float[Tensor, "batch time dim"],
    num_frames: Int[Tensor, " batch"],
    weights: Float[Tensor, "batch time"],
) -> Float[Tensor, "batch dim"]:
    """Over time; the weights of an utterance sum to 1, and padding has none."""
    return _weighted_sum(for_statistics(zeros_behind(frames, num_frames)), weights)


def weighted_std(
    frames: Float[Tensor, "batch time dim"],
    num_frames: Int[Tensor, " batch"],
    weights: Float[Tensor, "batch time"],
    *,
    mean: Float[Tensor, "batch dim"],
) -> Float[Tensor, "batch dim"]:
    """Over time, around the mean with the same weights; zeros without a real frame."""
    values = for_statistics(zeros_behind(frames, num_frames))
    variance = _weighted_sum((values - mean[:, None, :]).square(), weights)
    return zeros_without_frames(variance.clamp(min=SMALLEST_VARIANCE).sqrt(), num_frames)


def _weighted_sum(
    values: Float[Tensor, "batch time dim"], weights: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch dim"]:
    # A product of matrices, as a product of elements would be written to memory before its sum; in
    # the type of the values, which autocast would change.
    with torch.autocast(values.device.type, enabled=False):
        return torch.bmm(weights[:, None, :].to(values.dtype), values).squeeze(1)


def for_statistics(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """In float32 at least."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def zeros_behind(
    frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
) -> Float[Tensor, "batch time dim"]:
    """Zeros in place of what stands behind the last real frame."""
    if is_known_unpadded(num_frames, frames.shape[1]):
        return frames
    return torch.where(real_mask(num_frames, frames.shape[1])[:, :, None], frames, 0)


def zeros_without_frames(
    embedding: Float[Tensor, "batch out_dim"], num_frames: Int[Tensor, " batch"]
) -> Float[Tensor, "batch out_dim"]:
    """Zeros in place of the embedding of an utterance without a real frame."""
    return torch.where(num_frames[:, None] > 0, embedding, 0)
