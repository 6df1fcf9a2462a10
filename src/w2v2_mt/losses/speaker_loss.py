"""The base class of speaker losses, the registry that names them, and cross entropy."""

from typing import TypeAlias

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.registry import Registry

Logits: TypeAlias = Float[Tensor, "batch classes"]
Labels: TypeAlias = Int[Tensor, " batch"]


class SpeakerLoss(nn.Module):
    """A loss over the training speakers, averaged over a batch.

    A loss overrides `forward`, registers itself under a name, and declares its settings, keys of
    `optim.loss`, as parameters.
    """

    takes_cosines: bool
    """Read cosines between embeddings and class centers (`network.use_cosine_linear=true`), or the
    logits of a linear layer."""

    def set_step(self, step: int) -> None:
        """Set the number of optimizer steps taken so far, for a loss that changes with it."""

    def forward(self, logits: Logits, labels: Labels) -> Float[Tensor, ""]:
        """Return the mean loss of a batch; every label is below the number of classes."""
        raise NotImplementedError


SPEAKER_LOSSES: Registry[type[SpeakerLoss]] = Registry("speaker loss", setting="optim/loss")


@SPEAKER_LOSSES.register("cross_entropy")
class CrossEntropyLoss(SpeakerLoss):
    """Mean cross entropy of a batch, in float32, for a linear classifier."""

    takes_cosines = False

    def forward(self, logits: Logits, labels: Labels) -> Float[Tensor, ""]:
        """Return the cross entropy; every label is below the number of classes."""
        return F.cross_entropy(logits.float(), labels)
