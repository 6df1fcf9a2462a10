"""A learned weighted sum over the outputs of all layers, in place of the last one's."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerWeights(nn.Module):
    """Weights that are positive and sum to 1, alike at first, for the frames of each layer.

    Source: SUPERB, arXiv 2105.01051, section 3.
    """

    def __init__(self, num_outputs: int):
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_outputs))

    def forward(
        self, outputs: Sequence[Float[Tensor, "batch time dim"]]
    ) -> Float[Tensor, "batch time dim"]:
        weights = self.logits.softmax(dim=0).to(outputs[0].dtype)
        # One after another: a stack of them would hold all of them twice.
        return sum(weight * frames for weight, frames in zip(weights, outputs, strict=True))
