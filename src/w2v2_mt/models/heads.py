"""What turns frames into an answer: letters for speech, an embedding and classes for speakers."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from w2v2_mt.models.pooling import Pooling

Classifier = Literal["cosine", "linear"]


class SpeechHead(nn.Module):
    """Dropout and one linear layer from frames to letters."""

    def __init__(self, *, dim: int, num_letters: int, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, num_letters)

    def forward(
        self, frames: Float[Tensor, "batch time dim"]
    ) -> Float[Tensor, "batch time letters"]:
        return self.linear(self.dropout(frames))


class CosineLinear(nn.Module):
    """Cosines between an embedding and one weight vector per class, in float32."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        with torch.autocast(embeddings.device.type, enabled=False):
            return nn.functional.linear(
                nn.functional.normalize(embeddings.float(), dim=-1),
                nn.functional.normalize(self.weight.float(), dim=-1),
            )


class SpeakerHead(nn.Module):
    """Pooling, then dropout and a classifier over the training speakers.

    The embedding is what pooling returns; the classifier's logits are cosines (`"cosine"`) or
    unbounded (`"linear"`).
    """

    def __init__(
        self, *, pooling: Pooling, num_speakers: int, classifier: Classifier, dropout: float
    ):
        super().__init__()
        self.pooling = pooling
        self.dropout = nn.Dropout(dropout)
        layer = CosineLinear if classifier == "cosine" else nn.Linear
        self.classifier = layer(pooling.out_dim, num_speakers)

    @property
    def num_speakers(self) -> int:
        return self.classifier.weight.shape[0]

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
