"""Utterances side by side: a padded tensor and its lengths, always together."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.core.samples import SpeakerSample, SpeechSample

UNKNOWN_SPEAKER_INDEX = -1
"""Stands in a tensor for a speaker who is not in the training set."""

SomeBatch = TypeVar("SomeBatch", bound="WaveformBatch")


@dataclass(frozen=True, kw_only=True)
class WaveformBatch:
    """Waveforms of a set; `set_name` says which one ("train", "clean", ...)."""

    set_name: str
    keys: list[str]
    waveforms: Float[Tensor, "batch samples"]
    num_samples: Int[Tensor, " batch"]

    def __len__(self) -> int:
        return len(self.keys)

    def to(self: SomeBatch, *arguments: object, **options: object) -> SomeBatch:
        """The batch with every tensor moved or cast, as `Tensor.to`."""
        return self._with_tensors("to", *arguments, **options)

    def pin_memory(self: SomeBatch) -> SomeBatch:
        return self._with_tensors("pin_memory")

    def _with_tensors(
        self: SomeBatch, method_name: str, *arguments: object, **options: object
    ) -> SomeBatch:
        changed = {
            field.name: getattr(value, method_name)(*arguments, **options)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), Tensor)
        }
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class SpeechBatch(WaveformBatch):
    """Utterances with their letters."""

    letters: Int[Tensor, "batch letters"]
    num_letters: Int[Tensor, " batch"]
    transcriptions: list[str]

    @classmethod
    def collate(cls, samples: Sequence[SpeechSample], *, set_name: str) -> "SpeechBatch":
        waveforms, num_samples = pad_sequences([sample.waveform for sample in samples])
        letters, num_letters = pad_sequences([sample.letters for sample in samples])
        return cls(
            set_name=set_name,
            keys=[sample.key for sample in samples],
            waveforms=waveforms,
            num_samples=num_samples,
            letters=letters,
            num_letters=num_letters,
            transcriptions=[sample.transcription for sample in samples],
        )


@dataclass(frozen=True, kw_only=True)
class SpeakerBatch(WaveformBatch):
    """Utterances with their speakers; an index of -1 is a speaker outside the training set."""

    speaker_indices: Int[Tensor, " batch"]

    @classmethod
    def collate(cls, samples: Sequence[SpeakerSample], *, set_name: str) -> "SpeakerBatch":
        waveforms, num_samples = pad_sequences([sample.waveform for sample in samples])
        indices = [
            UNKNOWN_SPEAKER_INDEX if sample.speaker_index is None else sample.speaker_index
            for sample in samples
        ]
        return cls(
            set_name=set_name,
            keys=[sample.key for sample in samples],
            waveforms=waveforms,
            num_samples=num_samples,
            speaker_indices=torch.tensor(indices),
        )
