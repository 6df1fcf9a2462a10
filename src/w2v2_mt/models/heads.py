"""What turns frames into an answer: letters for speech, an embedding and classes for speakers."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from w2v2_mt.models.pooling import Pooling

Classifier = Literal["cosine", "linear"]


class SpeechHead(nn.Module):
    """Dropout and one linear layer from frames to letters.

    Its bias begins at the logarithm of `prior`, the probability of each letter; at zero for None.
    """

    def __init__(
        self,
        *,
        dim: int,
        num_letters: int,
        dropout: float,
        prior: Float[Tensor, " letters"] | None,
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, num_letters)
        with torch.no_grad():
            self.linear.bias.copy_(torch.zeros(num_letters) if prior is None else prior.log())

    def forward(
        self, frames: Float[Tensor, "batch time dim"]
    ) -> Float[Tensor, "batch time letters"]:
        return self.linear(self.dropout(frames))


class CosineLinear(nn.Module):
    """Cosines between an embedding and each class, in float32.

    A class has `num_subcentres` weight vectors, rows next to each other; its cosine is the largest
    of theirs. Source: Deng et al., Sub-center ArcFace, ECCV 2020.
    """

    def __init__(self, in_features: int, out_features: int, *, num_subcentres: int):
        super().__init__()
        self.num_subcentres = num_subcentres
        self.weight = nn.Parameter(torch.empty(out_features * num_subcentres, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        with torch.autocast(embeddings.device.type, enabled=False):
            cosines = nn.functional.linear(
                nn.functional.normalize(embeddings.float(), dim=-1),
                nn.functional.normalize(self.weight.float(), dim=-1),
            )
            if self.num_subcentres == 1:
                return cosines
            return cosines.unflatten(1, (-1, self.num_subcentres)).amax(dim=2)


class SpeakerHead(nn.Module):
    """Pooling, then dropout and a classifier over the training speakers.

    The embedding is what pooling returns; the classifier's logits are cosines (`"cosine"`, with
    `num_subcentres` weight vectors for each speaker) or unbounded (`"linear"`).
    """

    def __init__(
        self,
        *,
        pooling: Pooling,
        num_speakers: int,
        classifier: Classifier,
        num_subcentres: int,
        dropout: float,
    ):
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        self.num_speakers = num_speakers
        self.classifier: nn.Module
        if classifier == "cosine":
            self.classifier = CosineLinear(
                pooling.out_dim, num_speakers, num_subcentres=num_subcentres
            )
        else:
            self.classifier = nn.Linear(pooling.out_dim, num_speakers)

    def forward(
        self,
        frames: Float[Tensor, "batch time dim"],
        num_frames: Int[Tensor, " batch"],
        selected: Bool[Tensor, "batch time"] | None = None,
    ) -> tuple[Float[Tensor, "batch embedding"], Float[Tensor, "batch classes"]]:
        """Embeddings and logits; `selected` narrows mean and mean+std pooling to some frames."""
        if selected is None:
            embeddings = self.pooling(frames, num_frames)
        else:
            embeddings = self.pooling(frames, num_frames, selected)
        return embeddings, self.classifier(self.dropout(embeddings))
