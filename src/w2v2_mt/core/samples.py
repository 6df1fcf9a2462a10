"""One utterance on its way from a shard to a batch."""

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """An utterance as it lies in a shard: the bytes of an audio file and the facts beside it.

    `chunk` are the positions of the audio samples that are used; None: all.
    """

    key: str
    audio: bytes
    facts: dict[str, Any]
    shard: str
    chunk: range | None = None


@dataclass(frozen=True, kw_only=True)
class SpeechSample:
    """An utterance and the letters that were spoken in it."""

    key: str
    waveform: Float[Tensor, " samples"]
    transcription: str
    letters: Int[Tensor, " letters"]


@dataclass(frozen=True, kw_only=True)
class SpeakerSample:
    """An utterance, or a chunk of one, and who speaks in it.

    `speaker_index` numbers the speakers of the training set; it is None for a speaker outside it.
    """

    key: str
    waveform: Float[Tensor, " samples"]
    speaker_id: str
    speaker_index: int | None
