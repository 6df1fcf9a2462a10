"""The plain recipe: a multi-task network with the forward pass that HuggingFace's model has.

`Wav2Vec2Model` with eager attention and gradient checkpointing. Its convolutions are frozen by
`requires_grad_(False)` on their parameters, which lets autograd run through them all the same.
"""

import copy
from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from torch import Tensor, nn
from transformers import Wav2Vec2Model

from w2v2_mt.core.padding import frames_from_samples, padding_mask
from w2v2_mt.models.heads import SpeakerOutput, SpeechOutput
from w2v2_mt.models.networks import MultiTaskNetwork


class PlainMultiTaskNetwork(nn.Module):
    """A wav2vec2 with copies of the heads of one of our networks; answers as that does."""

    def __init__(self, *, wav2vec2: Wav2Vec2Model, heads_of: MultiTaskNetwork):
        super().__init__()
        self.wav2vec2 = wav2vec2
        self.wav2vec2.set_attn_implementation("eager")
        self.wav2vec2.gradient_checkpointing_enable()
        self.wav2vec2.feature_extractor.requires_grad_(False)
        # A training step asks the backbone for the number of frames; it is not a part of this.
        self.trunk = SimpleNamespace(backbone=heads_of.trunk.backbone)
        self.speech_head = copy.deepcopy(heads_of.speech_head)
        self.speaker_head = copy.deepcopy(heads_of.speaker_head)

    def answer(
        self,
        waveforms: Tensor,
        num_samples: Tensor,
        *,
        tasks: Sequence[str],
        rows: Mapping[str, Tensor | None],
        known_lengths: Sequence[int] | None = None,
    ) -> dict[str, SpeechOutput | SpeakerOutput]:
        """Return the output of the head of each of these tasks for all rows."""
        assert all(each is None for each in rows.values())
        frames = self._frames(waveforms, num_samples)
        return {task: self.get_submodule(f"{task}_head")(*frames) for task in tasks}

    def _frames(self, waveforms: Tensor, num_samples: Tensor) -> tuple[Tensor, Tensor]:
        is_real = padding_mask(num_samples, waveforms.shape[1])
        attention_mask = None if is_real.all() else is_real.long()
        frames = self.wav2vec2(waveforms, attention_mask=attention_mask).last_hidden_state
        config = self.wav2vec2.config
        num_frames = frames_from_samples(
            num_samples, kernel_sizes=config.conv_kernel, strides=config.conv_stride
        )
        return frames, num_frames
