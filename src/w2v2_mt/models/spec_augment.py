"""Mask spans of frames and of feature dimensions during training.

Source: SpecAugment, arXiv 1904.08779, on projected frames as in wav2vec 2.0, arXiv 2006.11477, A.2.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from w2v2_mt.models.regularisation import Regularisation


def span_mask(
    lengths: Int[Tensor, " batch"], max_length: int, *, probability: float, span_length: int
) -> Bool[Tensor, "batch time"]:
    """True where an element is masked; spans lie inside the first `lengths[i]` elements of row i.

    A row gets `probability * length / span_length` spans, the fraction decided at random; two spans
    start at different places but may overlap. Never waits for the device.
    """
    max_num_spans = int(probability * max_length / span_length) + 1
    positions = torch.arange(max_length, device=lengths.device)
    num_starts = (lengths - span_length + 1).clamp(min=0)

    dice = torch.rand(len(lengths), device=lengths.device)
    num_spans = (probability * lengths / span_length + dice).floor().clamp(max=num_starts)

    # A random order of the possible starts: the first `num_spans` of it are taken.
    order = torch.rand(len(lengths), max_length, device=lengths.device)
    order = order.masked_fill(positions[None, :] >= num_starts[:, None], -1)
    starts = order.topk(min(max_num_spans, max_length), dim=1).indices
    taken = torch.arange(starts.shape[1], device=lengths.device)[None, :] < num_spans[:, None]

    begins = torch.zeros(len(lengths), max_length + 1, device=lengths.device)
    begins.scatter_(1, torch.where(taken, starts, max_length), 1.0)
    begins = begins[:, :-1]
    dilated = nn.functional.max_pool1d(
        nn.functional.pad(begins, (span_length - 1, 0)), kernel_size=span_length, stride=1
    )
    return dilated > 0


class SpecAugment(nn.Module):
    """Replace spans of real frames by a trained vector and spans of dimensions by zero.

    `masked_frame` is that vector; it is None exactly when no frame is ever masked.
    """

    def __init__(self, *, regularisation: Regularisation, masked_frame: nn.Parameter | None):
        super().__init__()
        assert (masked_frame is None) == (regularisation.mask_time_prob == 0)
        self.regularisation = regularisation
        self.masked_frame = masked_frame

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time dim"]:
        if not self.training:
            return frames
        settings = self.regularisation
        batch, time, dim = frames.shape
        if self.masked_frame is not None:
            mask = span_mask(
                num_frames,
                time,
                probability=settings.mask_time_prob,
                span_length=settings.mask_time_length,
            )
            frames = torch.where(mask[:, :, None], self.masked_frame.to(frames.dtype), frames)
        if settings.mask_feature_prob > 0:
            mask = span_mask(
                torch.full((batch,), dim, device=frames.device),
                dim,
                probability=settings.mask_feature_prob,
                span_length=settings.mask_feature_length,
            )
            frames = frames.masked_fill(mask[:, None, :], 0)
        return frames
