"""One utterance on its way from a shard to a batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from jaxtyping import Float, Int
from torch import Tensor


@contextmanager
def opened_shard(shard: Path) -> Iterator[BinaryIO]:
    """What the file system refuses, then or later, is a ValueError that names the shard."""
    try:
        with shard.open("rb") as stream:
            yield stream
    except OSError as error:
        raise ValueError(
            f"shard {shard} cannot be read ({error.strerror or error}): bring it back and start "
            "again; a run goes on in its folder"
        ) from error


@dataclass(frozen=True, kw_only=True)
class StoredAudio:
    """Where in a shard the bytes of an audio file lie."""

    shard: Path
    offset: int
    num_bytes: int

    def read(self) -> bytes:
        """Fewer bytes where the shard ends early; ValueError where it cannot be read."""
        with opened_shard(self.shard) as file:
            file.seek(self.offset)
            return file.read(self.num_bytes)


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """An utterance as it lies in a shard: an audio file, or its place, and the facts beside it.

    `chunk` are the positions of the audio samples that are used; None: all.
    """

    key: str
    audio: bytes | StoredAudio
    facts: dict[str, Any]
    shard: str
    chunk: range | None = None

    def audio_file(self) -> bytes:
        return self.audio.read() if isinstance(self.audio, StoredAudio) else self.audio


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
