"""The regularisation of a network: dropout, layer drop and SpecAugment."""

from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import PositiveInt, Probability
from w2v2_mt.core.registry import loadable
from w2v2_mt.models.packing import Packing
from w2v2_mt.models.shapes import FrameMask, Frames, Lengths


@loadable
@dataclass(frozen=True, kw_only=True)
class Regularisation:
    """The dropout and masking probabilities of a network, named as in transformers.

    `mask_time_prob` and `mask_feature_prob` are the shares of frames and of feature dimensions that
    would be masked if spans never overlapped; a length counts frames or dimensions.
    """

    activation_dropout: Probability
    attention_dropout: Probability
    feat_proj_dropout: Probability
    hidden_dropout: Probability
    final_dropout: Probability
    layerdrop: Probability
    mask_feature_length: PositiveInt
    mask_feature_prob: Probability
    mask_time_length: PositiveInt
    mask_time_prob: Probability


def draw_spans(
    lengths: Lengths, max_length: int, *, probability: float, span_length: int
) -> FrameMask:
    """Draw spans to mask, True where an element is masked.

    The spans of row i are inside its first `lengths[i]` elements. A row has `probability * length /
    span_length` spans, rounded up or down at random; two spans start at different places but may
    overlap. Never waits for the device.
    """
    positions = torch.arange(max_length, device=lengths.device)
    num_starts = (lengths - span_length + 1).clamp(min=0)
    dice = torch.rand(len(lengths), device=lengths.device)
    num_spans = (probability * lengths / span_length + dice).floor().clamp(max=num_starts)

    # A random order of the possible starts: the first `num_spans` of it are taken.
    order = torch.rand(len(lengths), max_length, device=lengths.device)
    order = order.masked_fill(positions[None, :] >= num_starts[:, None], -1)
    ranks = order.argsort(dim=1, descending=True).argsort(dim=1)
    starts = (ranks < num_spans[:, None]).float()
    padded = nn.functional.pad(starts, (span_length - 1, 0))
    return nn.functional.max_pool1d(padded, kernel_size=span_length, stride=1) > 0


class SpecAugment(nn.Module):
    """Masks spans of frames and of feature dimensions in training.

    Source: SpecAugment, arXiv 1904.08779, on projected frames as in wav2vec 2.0, arXiv 2006.11477,
    A.2.
    """

    def __init__(self, *, regularisation: Regularisation, masked_frame: nn.Parameter | None):
        super().__init__()
        self.regularisation = regularisation
        # The trained vector that replaces masked frames.
        self.masked_frame = masked_frame if regularisation.mask_time_prob > 0 else None

    def forward(
        self, frames: Frames, num_frames: Int[Tensor, " utterances"], packing: Packing | None = None
    ) -> Frames:
        """Return the frames with masks in training mode, and unchanged in eval mode.

        With a `packing`, frames are packed, and the masks those of the padded batch.
        """
        if not self.training:
            return frames
        settings = self.regularisation
        batch, dim = len(num_frames), frames.shape[2]
        time = frames.shape[1] if packing is None else packing.longest
        if self.masked_frame is not None:
            probability, length = settings.mask_time_prob, settings.mask_time_length
            mask = draw_spans(num_frames, time, probability=probability, span_length=length)
            mask = mask if packing is None else packing.pack(mask)
            frames = torch.where(mask[:, :, None], self.masked_frame.to(frames.dtype), frames)
        if settings.mask_feature_prob > 0:
            dims = torch.full((batch,), dim, device=frames.device)
            probability, length = settings.mask_feature_prob, settings.mask_feature_length
            mask = draw_spans(dims, dim, probability=probability, span_length=length)
            mask = mask[:, None, :] if packing is None else packing.repeat(mask)
            frames = frames.masked_fill(mask, 0)
        return frames
