"""Connectionist temporal classification: the loss of the speech task."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.constraints import NonNegativeInt
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.core.registry import loadable


@dataclass(frozen=True, kw_only=True)
class CtcResult:
    """The mean loss of a batch, and the number of its utterances that were skipped."""

    loss: Float[Tensor, ""]
    num_unalignable: Int[Tensor, ""]


@loadable
class CtcLoss(nn.Module):
    """CTC of each utterance divided by its number of tokens, averaged over the batch, in float32.

    An utterance with fewer frames than its tokens and their repeats need, or without a frame,
    counts as zero in the average, has no gradient and is counted.

    Source: Graves et al., Connectionist Temporal Classification, ICML 2006.
    """

    def __init__(self, *, blank_index: NonNegativeInt):
        super().__init__()
        self.blank_index = blank_index

    def forward(
        self,
        logits: Float[Tensor, "batch time classes"],
        num_frames: Int[Tensor, " batch"],
        tokens: Int[Tensor, "batch tokens"],
        num_tokens: Int[Tensor, " batch"],
    ) -> CtcResult:
        """Return the mean loss; frames and tokens beyond their numbers are padding."""
        log_probabilities = F.log_softmax(logits, dim=-1, dtype=torch.float32)
        # One frame per token, one more for the blank between two equal ones, at least one.
        repeats = tokens[:, 1:] == tokens[:, :-1]
        num_repeats = (repeats & padding_mask(num_tokens - 1, repeats.shape[1])).sum(dim=1)
        alignable = num_frames >= (num_tokens + num_repeats).clamp(min=1)
        # An unalignable utterance is replaced by a silence of one frame and then skipped, so that
        # no infinite value ever arises that would have to be removed from the gradient.
        losses = F.ctc_loss(
            log_probabilities.transpose(0, 1),  # [time, batch, classes]
            tokens,
            torch.where(alignable, num_frames, 1),
            torch.where(alignable, num_tokens, 0),
            blank=self.blank_index,
            reduction="none",
            zero_infinity=True,
        )
        losses = torch.where(alignable, losses / num_tokens.clamp(min=1), 0)
        return CtcResult(loss=losses.mean(), num_unalignable=(~alignable).sum())
