"""Cross entropy: the loss of a speaker head with a linear classifier."""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn


class CrossEntropyLoss(nn.Module):
    """Mean cross entropy of a batch, in float32; every label is below the number of classes."""

    def set_step(self, step: int) -> None:
        """Nothing changes from step to step, unlike in AamSoftmaxLoss."""

    def forward(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        return F.cross_entropy(logits.float(), labels)
