"""Statistics over the valid frames of each utterance, for norms and poolings."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.padding import is_known_unpadded, padding_mask
from w2v2_mt.models.shapes import Embeddings, FrameMask, Frames, Lengths

SMALLEST_VARIANCE = 1e-10
"""Keeps the gradient of a standard deviation finite where all frames are equal."""


def take_frame(positions: Lengths, frames: Frames, num_frames: Lengths) -> Embeddings:
    """Return one frame per utterance; zeros for an utterance without frames."""
    indices = positions.long().clamp(min=0)[:, None, None].expand(-1, 1, frames.shape[2])
    return zero_without_frames(frames.gather(1, indices).squeeze(1), num_frames)


def equal_weights(
    frames: Frames, num_frames: Lengths, selected: FrameMask | None
) -> Float[Tensor, "batch time"]:
    """Return the same weight for each valid frame, with a sum of 1 per utterance.

    With `selected`, only the selected valid frames have weight; all valid ones if none is selected.
    """
    is_used = padding_mask(num_frames, frames.shape[1])
    if selected is not None:
        is_selected = is_used & selected
        is_used = is_selected | (is_used & ~is_selected.any(dim=1, keepdim=True))
    return is_used / is_used.sum(dim=1, keepdim=True).clamp(min=1)


def compute_mean(
    frames: Frames, num_frames: Lengths, weights: Float[Tensor, "batch time"]
) -> Embeddings:
    """Average over time; the weights of an utterance sum to 1, and padding has none."""
    return _weight(widen(zero_padding(frames, num_frames)), weights)


def compute_mean_and_std(
    frames: Frames, num_frames: Lengths, weights: Float[Tensor, "batch time"]
) -> Embeddings:
    """Return the mean, then the deviation from it with the same weights, 0 without a frame."""
    values = widen(zero_padding(frames, num_frames))
    mean = _weight(values, weights)
    variance = _weight((values - mean[:, None, :]).square(), weights)
    std = zero_without_frames(variance.clamp(min=SMALLEST_VARIANCE).sqrt(), num_frames)
    return torch.cat([mean, std], dim=1)


def _weight(values: Frames, weights: Float[Tensor, "batch time"]) -> Embeddings:
    # A product of matrices, as a product of elements would be written to memory before its sum; in
    # the type of the values, which autocast would change.
    with torch.autocast(values.device.type, enabled=False):
        return torch.bmm(weights[:, None, :].to(values.dtype), values).squeeze(1)


def widen(values: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Return the values in float32 or a wider type."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def zero_padding(frames: Frames, num_frames: Lengths) -> Frames:
    """Replace padding by zeros."""
    if is_known_unpadded(num_frames, frames.shape[1]):
        return frames
    return torch.where(padding_mask(num_frames, frames.shape[1])[:, :, None], frames, 0)


def zero_without_frames(embedding: Embeddings, num_frames: Lengths) -> Embeddings:
    """Replace the embedding of an utterance without a valid frame by zeros."""
    return torch.where(num_frames[:, None] > 0, embedding, 0)


def normalize_groups(
    frames: Float[Tensor, "batch channels time"], norm: nn.GroupNorm, num_frames: Lengths
) -> Float[Tensor, "batch channels time"]:
    """Normalize each channel over the valid frames of its utterance only.

    The first convolution of a "base" wav2vec2 has one group per channel: its statistics run over
    time and would otherwise include the padding.

    Source: arXiv 1803.08494, eq. 2, with S_i limited to valid frames.
    """
    assert norm.num_groups == norm.num_channels
    time = frames.shape[-1]
    is_bf16 = frames.dtype == torch.bfloat16  # In float32, a batch norm would be less exact.
    if frames.device.type == "cpu" and is_bf16 and not torch.onnx.is_in_onnx_export():
        return _normalize_each(frames, norm, num_frames)
    if is_known_unpadded(num_frames, time):
        return norm(frames)
    with torch.autocast(frames.device.type, enabled=False):
        is_real = padding_mask(num_frames, time)[:, None, :]
        count = num_frames.clamp(min=1)[:, None, None]
        # In place where possible: at this length, memory costs more than arithmetic.
        values = torch.where(is_real, widen(frames), 0)
        centred = values.sub_(_sum_over_time(values) / count).mul_(is_real)
        if torch.onnx.is_in_onnx_export():
            squares = _sum_over_time(centred.square())
        else:
            squares = torch.linalg.vector_norm(centred, dim=-1, keepdim=True).square()
        scale = norm.weight[:, None] * torch.rsqrt(squares / count + norm.eps)
        return torch.addcmul(norm.bias[:, None], centred, scale).to(frames.dtype)


def _normalize_each(
    frames: Float[Tensor, "batch channels time"], norm: nn.GroupNorm, num_frames: Lengths
) -> Float[Tensor, "batch channels time"]:
    """Normalize one utterance after the other, as a batch norm of its frames does.

    On a CPU, that reads the channels as the neighbors in memory that they are after a convolution.
    """
    normalized = []
    for own, length in zip(frames.transpose(1, 2), num_frames.tolist(), strict=True):
        valid = torch.batch_norm(
            own[: max(1, length)], norm.weight, norm.bias, None, None, True, 0.0, norm.eps, False
        )
        normalized.append(F.pad(valid, (0, 0, 0, frames.shape[-1] - len(valid))))
    return torch.stack(normalized).transpose(1, 2)


def _sum_over_time(
    values: Float[Tensor, "batch channels time"],
) -> Float[Tensor, "batch channels 1"]:
    if torch.onnx.is_in_onnx_export():
        # A matrix product, which other tools sum precisely.
        return values @ torch.ones_like(values[:, :1]).transpose(1, 2)
    return values.sum(dim=-1, keepdim=True)
