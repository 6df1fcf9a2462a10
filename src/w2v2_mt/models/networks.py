"""The three networks: speech, speaker, and both on one trunk."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from w2v2_mt.core.padding import real_mask
from w2v2_mt.models.heads import SpeakerHead, SpeechHead
from w2v2_mt.models.permutation import FramePermutation
from w2v2_mt.models.trunk import Trunk


@dataclass(frozen=True, kw_only=True)
class SpeechOutput:
    """Scores of each letter at each frame; only the first `num_frames` of a row are real."""

    logits: Float[Tensor, "batch time letters"]
    num_frames: Int[Tensor, " batch"]


@dataclass(frozen=True, kw_only=True)
class SpeakerOutput:
    """An embedding of each utterance and the classifier's logits for the training speakers.

    `num_without_selection` counts the utterances in which letter-guided pooling found no frame to
    use, and used them all; None where pooling is not guided.
    """

    embeddings: Float[Tensor, "batch embedding"]
    logits: Float[Tensor, "batch classes"]
    num_without_selection: Int[Tensor, ""] | None = None


@dataclass(frozen=True, kw_only=True)
class MultiTaskOutput:
    """Both answers to one batch of waveforms."""

    speech: SpeechOutput
    speaker: SpeakerOutput


@dataclass(frozen=True, kw_only=True)
class LetterGuidedPooling:
    """Pool only the frames whose best letter is not the blank, or only those where it is.

    Args:
        blank_index: which letter is the CTC blank.
        pool_blanks: keep the blank frames instead of the others.
        without_gradient: find the letters without keeping a graph, which nothing needs: the best
            letter of a frame has no gradient. It costs memory only.
    """

    blank_index: int
    pool_blanks: bool
    without_gradient: bool

    def selected(
        self, logits: Float[Tensor, "batch time letters"], num_frames: Int[Tensor, " batch"]
    ) -> Bool[Tensor, "batch time"]:
        is_blank = logits.argmax(dim=-1) == self.blank_index
        chosen = is_blank if self.pool_blanks else ~is_blank
        return chosen & real_mask(num_frames, logits.shape[1])


class SpeechNetwork(nn.Module):
    """Waveforms to letters."""

    def __init__(self, *, trunk: Trunk, head: SpeechHead):
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> SpeechOutput:
        frames, num_frames = self.trunk(waveforms, num_samples, tasks=["speech"])
        return SpeechOutput(logits=self.head(frames["speech"]), num_frames=num_frames)


class SpeakerNetwork(nn.Module):
    """Waveforms to a speaker embedding.

    Args:
        permutation: shuffles the frames on their way into the head; None leaves their order.
    """

    def __init__(self, *, trunk: Trunk, head: SpeakerHead, permutation: FramePermutation | None):
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.permutation = permutation

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> SpeakerOutput:
        outputs, num_frames = self.trunk(waveforms, num_samples, tasks=["speaker"])
        frames = outputs["speaker"]
        if self.permutation is not None:
            frames = self.permutation(frames, num_frames)
        embeddings, logits = self.head(frames, num_frames)
        return SpeakerOutput(embeddings=embeddings, logits=logits)


class MultiTaskNetwork(nn.Module):
    """Waveforms to letters and to a speaker embedding.

    `speech` and `speaker` answer one task and run no more than it needs; `forward` answers both.

    Args:
        num_speaker_dimensions: the speaker head reads this many of the first dimensions of a frame
            and the speech head the rest; None lets both read all of them.
        letter_guided_pooling: which frames of the speaker head's input are pooled; None pools all.
    """

    def __init__(
        self,
        *,
        trunk: Trunk,
        speech_head: SpeechHead,
        speaker_head: SpeakerHead,
        num_speaker_dimensions: int | None,
        letter_guided_pooling: LetterGuidedPooling | None,
    ):
        super().__init__()
        self.trunk = trunk
        self.speech_head = speech_head
        self.speaker_head = speaker_head
        self.num_speaker_dimensions = num_speaker_dimensions
        self.letter_guided_pooling = letter_guided_pooling

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> MultiTaskOutput:
        frames, num_frames = self.trunk(waveforms, num_samples, tasks=["speech", "speaker"])
        return MultiTaskOutput(
            speech=self._letters(frames["speech"], num_frames),
            speaker=self._speakers(frames, num_frames),
        )

    def speech(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> SpeechOutput:
        frames, num_frames = self.trunk(waveforms, num_samples, tasks=["speech"])
        return self._letters(frames["speech"], num_frames)

    def speaker(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> SpeakerOutput:
        guide = self.letter_guided_pooling
        frames, num_frames = self.trunk(
            waveforms,
            num_samples,
            tasks=["speaker"] if guide is None else ["speech", "speaker"],
            without_gradient=["speech"] if guide is not None and guide.without_gradient else [],
        )
        return self._speakers(frames, num_frames)

    def shared_parameters(self) -> list[nn.Parameter]:
        """The trained parameters of both tasks: the trunk, less what it holds for each task."""
        parts = (self.trunk.encoder.branches, self.trunk.layer_weights)
        unshared = {parameter for part in parts for parameter in part.parameters()}
        return [
            parameter
            for parameter in self.trunk.parameters()
            if parameter.requires_grad and parameter not in unshared
        ]

    def unshared_parameters(self) -> list[nn.Parameter]:
        """The trained parameters of one task: its branch, its weights of layers and its head."""
        shared = set(self.shared_parameters())
        return [
            parameter
            for parameter in self.parameters()
            if parameter.requires_grad and parameter not in shared
        ]

    def _letters(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> SpeechOutput:
        num_tokens = self.trunk.num_class_tokens
        frames = frames[:, num_tokens:, self.num_speaker_dimensions or 0 :]
        return SpeechOutput(logits=self.speech_head(frames), num_frames=num_frames - num_tokens)

    def _speakers(
        self, frames: dict[str, Float[Tensor, "batch time dim"]], num_frames: Int[Tensor, " batch"]
    ) -> SpeakerOutput:
        speaker_frames = frames["speaker"][:, :, : self.num_speaker_dimensions]
        guide = self.letter_guided_pooling
        if guide is None:
            embeddings, logits = self.speaker_head(speaker_frames, num_frames)
            return SpeakerOutput(embeddings=embeddings, logits=logits)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not guide.without_gradient):
            letters = self._letters(frames["speech"], num_frames)
        selected = guide.selected(letters.logits, letters.num_frames)
        embeddings, logits = self.speaker_head(speaker_frames, num_frames, selected)
        return SpeakerOutput(
            embeddings=embeddings,
            logits=logits,
            num_without_selection=(~selected.any(dim=1)).sum(),
        )
