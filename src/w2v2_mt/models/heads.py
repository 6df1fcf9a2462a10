"""The heads of the tasks: frames to tokens for speech, to an embedding and classes for speakers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.core.samples import TokenStatistics
from w2v2_mt.core.units import count
from w2v2_mt.models.pooling import Pooling
from w2v2_mt.models.shapes import FrameMask, Frames, LayerFrames, Lengths


@dataclass(frozen=True, kw_only=True)
class SpeechOutput:
    """The scores of each token at each frame; only the first `num_frames` of a row are valid."""

    logits: Float[Tensor, "batch time tokens"]
    num_frames: Int[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class SpeakerOutput:
    """An embedding of each utterance and the classifier's logits for the training speakers.

    `num_without_selection` counts the utterances in which CTC-guided pooling found no frame to
    use, and used them all; None where pooling is not guided.
    """

    embeddings: Float[Tensor, "batch embedding"]
    logits: Float[Tensor, "batch classes"]
    num_without_selection: Int[Tensor, ""] | None = None


class TaskHead(nn.Module):
    """A head: what one task computes from the frames of the encoder, pooled by some heads."""

    reads_class_token: ClassVar[bool] = False
    """Include the class token, if there is one, as the first frame."""
    graph_outputs: ClassVar[Sequence[str]] = ()
    """The fields of the output that are outputs of an exported graph."""

    def __init__(self, pooling: Pooling | None = None):
        super().__init__()
        self.pooling = pooling

    def forward(
        self, frames: LayerFrames, num_frames: Lengths, selected: FrameMask | None = None
    ) -> Any:
        """Return the output of the task; heads with a pooling pool the selected frames, or all."""
        raise NotImplementedError


class SpeechHead(TaskHead):
    """A CTC head: dropout and one linear layer from frames to tokens.

    The initial bias is the logarithm of `prior`, the probability of each token, or zero.
    """

    graph_outputs = ("logits", "num_frames")

    def __init__(
        self, *, dim: int, num_tokens: int, dropout: float, prior: Float[Tensor, " tokens"] | None
    ):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, num_tokens)
        with torch.no_grad():
            self.linear.bias.copy_(torch.zeros(num_tokens) if prior is None else prior.log())

    def forward(
        self, frames: Frames, num_frames: Lengths, selected: FrameMask | None = None
    ) -> SpeechOutput:
        """Return the scores of the tokens at each frame, in float32 under autocast too."""
        frames = self.dropout(frames)
        with torch.autocast(frames.device.type, enabled=False):
            logits = self.linear(frames.to(self.linear.weight.dtype))
        return SpeechOutput(logits=logits, num_frames=num_frames)


SMALLEST_PROBABILITY = 1e-6
"""The prior of a token that never occurs, so that its logarithm is finite."""


def compute_token_prior(
    statistics: TokenStatistics, *, num_samples_per_frame: int
) -> Float[Tensor, " tokens"]:
    """Return the probability of each token at a random frame of the training data.

    Each token takes one frame, and the blank takes all others.

    Raises:
        ValueError: No frame is left for the blank.
    """
    num_frames = statistics.num_samples / num_samples_per_frame
    num_tokens = sum(statistics.counts)
    if num_tokens >= num_frames:
        raise ValueError(
            f"The training data has {count(num_tokens, 'token')} in "
            f"{count(round(num_frames), 'frame')}, which leaves no frame for the blank. "
            "Set network.ctc_bias_init=zero."
        )
    counts = torch.tensor(statistics.counts, dtype=torch.float64)
    prior = (counts / num_frames).clamp(min=SMALLEST_PROBABILITY)
    prior[statistics.blank_index] = 0
    prior[statistics.blank_index] = (1 - prior.sum()).clamp(min=SMALLEST_PROBABILITY)
    return (prior / prior.sum()).float()


class CosineLinear(nn.Module):
    """The cosines between an embedding and each class, in float32.

    A class has `num_subcentres` weight vectors in adjacent rows; its cosine is the largest of
    theirs. Source: Deng et al., Sub-center ArcFace, ECCV 2020.
    """

    def __init__(self, in_features: int, out_features: int, *, num_subcentres: int):
        super().__init__()
        self.num_subcentres = num_subcentres
        self.weight = nn.Parameter(torch.empty(out_features * num_subcentres, in_features))
        nn.init.xavier_uniform_(self.weight)

    def forward(self, embeddings: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch classes"]:
        """Return the cosine of each class."""
        with torch.autocast(embeddings.device.type, enabled=False):
            directions = F.normalize(self.weight.float(), dim=-1)
            cosines = F.linear(F.normalize(embeddings.float(), dim=-1), directions)
            if self.num_subcentres == 1:
                return cosines
            return cosines.unflatten(1, (-1, self.num_subcentres)).amax(dim=2)


class SpeakerHead(TaskHead):
    """Pooling to an embedding, then dropout and a classifier over the training speakers.

    The classifier `cosine` gives cosines, `linear` unbounded logits.
    """

    reads_class_token = True
    graph_outputs = ("embeddings",)
    pooling: Pooling

    def __init__(
        self,
        *,
        pooling: Pooling,
        num_speakers: int,
        classifier: Literal["cosine", "linear"],
        num_subcentres: int,
        dropout: float,
    ):
        super().__init__(pooling)
        self.dropout = nn.Dropout(dropout)
        self.num_speakers = num_speakers
        dim = pooling.out_dim
        self.classifier = (
            CosineLinear(dim, num_speakers, num_subcentres=num_subcentres)
            if classifier == "cosine"
            else nn.Linear(dim, num_speakers)
        )

    def forward(
        self, frames: LayerFrames, num_frames: Lengths, selected: FrameMask | None = None
    ) -> SpeakerOutput:
        """Return the embeddings and the logits of the training speakers."""
        if selected is None:
            embeddings, num_without_selection = self.pooling(frames, num_frames), None
        else:
            embeddings = self.pooling(frames, num_frames, selected)
            num_without_selection = (~selected.any(dim=1)).sum()
        return SpeakerOutput(
            embeddings=embeddings,
            logits=self.classifier(self.dropout(embeddings)),
            num_without_selection=num_without_selection,
        )
