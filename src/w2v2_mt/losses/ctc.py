"""Connectionist temporal classification: the loss of the speech task."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import NonNegativeInt
from w2v2_mt.core.padding import real_mask


@dataclass(frozen=True, kw_only=True)
class CtcResult:
    """The loss of a batch, and how many of its utterances were left out of it."""

    loss: Float[Tensor, ""]
    num_unalignable: Int[Tensor, ""]


class CtcLoss(nn.Module):
    """CTC of each utterance per letter of it, averaged over the batch, in float32.

    An utterance with fewer frames than its letters and their repeats need, or without a frame,
    counts as zero in the average, sends no gradient back and is counted.

    Source: Graves et al., Connectionist Temporal Classification, ICML 2006.
    """

    def __init__(self, *, blank_index: NonNegativeInt):
        super().__init__()
        self.blank_index = blank_index

    def forward(
        self,
        logits: Float[Tensor, "batch time classes"],
        num_frames: Int[Tensor, " batch"],
        letters: Int[Tensor, "batch letters"],
        num_letters: Int[Tensor, " batch"],
    ) -> CtcResult:
        log_probabilities = F.log_softmax(logits, dim=-1, dtype=torch.float32)
        alignable = num_frames >= _num_frames_needed(letters, num_letters)

        # What cannot be aligned is replaced by a silence of one frame and then left out, so that
        # no infinite value ever arises that would have to be removed from the gradient.
        losses = F.ctc_loss(
            log_probabilities.transpose(0, 1),  # [time, batch, classes]
            letters,
            torch.where(alignable, num_frames, 1),
            torch.where(alignable, num_letters, 0),
            blank=self.blank_index,
            reduction="none",
            zero_infinity=True,
        )
        losses = torch.where(alignable, losses / num_letters.clamp(min=1), 0)
        return CtcResult(loss=losses.mean(), num_unalignable=(~alignable).sum())


def _num_frames_needed(
    letters: Int[Tensor, "batch letters"], num_letters: Int[Tensor, " batch"]
) -> Int[Tensor, " batch"]:
    """One frame a letter, one more for the blank between two equal ones, and never none."""
    repeats = letters[:, 1:] == letters[:, :-1]
    num_repeats = (repeats & real_mask(num_letters - 1, repeats.shape[1])).sum(dim=1)
    return (num_letters + num_repeats).clamp(min=1)
