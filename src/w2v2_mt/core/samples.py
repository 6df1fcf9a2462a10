"""An utterance from the shard to the batch: encoded, then decoded for its task."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.limits import MAX_AUDIO_BYTES, size_in_mib
from w2v2_mt.core.remote_files import fetch
from w2v2_mt.core.shard_index import StoredAudio, index_of
from w2v2_mt.core.speakers import labelled_speaker
from w2v2_mt.core.text_files import check_is_file

_NUM_SHARDS_KEPT_OPEN = 32
"""More than one worker reads at the same time, but far fewer files than a process may open."""


def speaker_of(key: str, named: Mapping[str, str] | None = None) -> str:
    """Return the speaker of an utterance, whom `named` or, without an entry there, the key names.

    A key of one part is a speaker of its own.
    """
    return (named or {}).get(key) or key.split("/")[0]


@contextmanager
def open_shard(shard: Path) -> Iterator[BinaryIO]:
    """Open a shard; raise ValueError with its name where the file system refuses, also later.

    A shard of another machine is downloaded before.
    """
    fetch(shard)
    check_is_file(shard)
    with _explain_refusal(shard), shard.open("rb") as stream:
        yield stream


@contextmanager
def _explain_refusal(shard: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"shard {shard} cannot be read ({error.strerror or error}): bring it back and start "
            "again; a run resumes in its folder"
        ) from error


class _OpenShard:
    """A shard that is read at any place, and closed when nobody uses it any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __del__(self) -> None:
        os.close(self.descriptor)


def _open_once(shard: str) -> _OpenShard:
    """Return an open shard, which stays open: thousands of utterances are read of it one by one."""
    try:
        status = os.stat(shard)
    except FileNotFoundError:
        fetch(Path(shard))
        status = os.stat(shard)
    return _keep_open(shard, status.st_dev, status.st_ino)


@lru_cache(maxsize=_NUM_SHARDS_KEPT_OPEN)
def _keep_open(shard: str, device: int, number: int) -> _OpenShard:
    """Return an open shard; another file of its name has other numbers of device and file."""
    with open_shard(Path(shard)) as stream:
        return _OpenShard(os.dup(stream.fileno()))


@dataclass(frozen=True, kw_only=True)
class EncodedSample:
    """An utterance as it is stored in a shard.

    Args:
        audio: The content of the audio file, or its place in the shard.
        metadata: The JSON next to the audio.
        number: Its position among the utterances of the shard. None: unknown.
        chunk: The positions of the audio samples that are used. None: all.
        decoded: The waveform, if it was decoded already.
    """

    key: str
    audio: bytes | StoredAudio
    metadata: dict[str, Any]
    shard: str
    number: int | None = None
    chunk: range | None = None
    decoded: Float[Tensor, " samples"] | None = None

    def audio_file(self) -> bytes:
        """Return the content of the audio file; a ValueError says that the shard has changed."""
        (content,) = self.read_audio(range(len(self.audio)))
        return content

    def read_audio(self, *parts: range) -> list[bytes]:
        """Return the bytes at positions in the audio file; raise ValueError as `audio_file`."""
        place = self.audio
        if isinstance(place, bytes):
            return [place[part.start : part.stop] for part in parts]
        if len(place) > MAX_AUDIO_BYTES:
            raise ValueError(
                f"The audio of utterance {self.key} in shard {self.shard} has {len(place)} "
                f"bytes, more than {size_in_mib(MAX_AUDIO_BYTES)}. Write the shard again."
            )
        with _explain_refusal(Path(self.shard)):
            opened = _open_once(self.shard)
            try:
                return place.read(opened.descriptor, *parts)
            except ValueError as error:
                raise ValueError(
                    f"Shard {self.shard} must have utterance {self.key} where it was when the "
                    "shard was listed, but has changed. If the shard is as it should be, remove "
                    f"{index_of(Path(self.shard))}, which is then made again; otherwise write the "
                    "shard again."
                ) from error

    @property
    def named_speaker(self) -> str | None:
        """Return the speaker whom the metadata names, if it names one."""
        return labelled_speaker(self.metadata)

    @property
    def speaker(self) -> str:
        """Return the speaker whom the metadata names; without one, that of the key."""
        return self.named_speaker or " ".join(speaker_of(self.key).split())

    def entry(self, name: str) -> Any:
        """Return an entry of the metadata; a missing one is a ValueError."""
        if name not in self.metadata:
            raise ValueError(
                f"The json of utterance {self.key} in shard {self.shard} must have {name!r}, but "
                f"has only {sorted(self.metadata)}. Write the shard again."
            )
        return self.metadata[name]


@dataclass(frozen=True, kw_only=True)
class SpeechSample:
    """An utterance and the tokens of its transcription."""

    key: str
    waveform: Float[Tensor, " samples"]
    transcription: str
    tokens: Int[Tensor, " tokens"]
    speaker_id: str | None = None


@dataclass(frozen=True, kw_only=True)
class SpeakerSample:
    """An utterance, or a chunk of one, and who speaks in it.

    `speaker_index` numbers the speakers of the training set; it is None for a speaker outside it.
    """

    key: str
    waveform: Float[Tensor, " samples"]
    speaker_id: str
    speaker_index: int | None


@dataclass(frozen=True, kw_only=True)
class JointSample:
    """An utterance, or a chunk of one, and the sample of each task that has a label for it."""

    key: str
    waveform: Float[Tensor, " samples"]
    speaker_id: str
    labelled: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TokenStatistics:
    """The counts of each token, by its index in the vocabulary, in `num_samples` of audio."""

    counts: list[int]
    blank_index: int
    num_samples: int
