"""The order of frames, drawn anew: whether a network needs to know which frame came when."""

from random import Random

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.padding import real_mask

_SEED = 0


class FramePermutation(nn.Module):
    """Shuffles the real frames of each utterance; padding stays where it is.

    In training every utterance gets an order of its own. In eval mode the order depends on the
    number of its frames alone, so that an utterance has one answer, whatever it is batched with.
    The first `num_class_tokens` frames stay first.
    """

    def __init__(self, *, num_class_tokens: int):
        super().__init__()
        self.num_class_tokens = num_class_tokens

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch time dim"]:
        """`num_frames` counts the class token as well."""
        batch, time, _ = frames.shape
        if self.training:
            ranks = torch.rand(batch, time, device=frames.device)
        else:
            # One number after the other, so that a longer batch begins with the same ones.
            rng = Random(_SEED)
            drawn = torch.tensor([rng.random() for _ in range(time)])
            ranks = drawn.to(frames.device).repeat(batch, 1)
        ranks[:, : self.num_class_tokens] = -1
        ranks = ranks.masked_fill(~real_mask(num_frames, time), 2)
        # Stable, so that padding, which all has the same rank, is left alone.
        order = ranks.argsort(dim=1, stable=True)
        return frames.gather(1, order[:, :, None].expand_as(frames))
