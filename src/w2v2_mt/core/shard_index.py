"""The index of a shard: a file next to it with the place and the metadata of each utterance.

With it, a reader begins anywhere in a shard, and reads metadata without a pass over the headers.
An index is a copy, which is never believed: that of another shard, or of an earlier content of the
shard, is ignored, and the audio is read together with a checksum of its headers and its json.
"""

import json
import os
import tarfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from operator import eq
from pathlib import Path
from typing import Any, BinaryIO

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.limits import MAX_AUDIO_BYTES, MAX_INDEX_BYTES, MAX_JSON_BYTES
from w2v2_mt.core.text_files import read_text

INDEX_SUFFIX = ".index"
_FORMAT = "w2v2-mt shard index 1"
_MAX_GAP_BYTES = 1 << 20
"""The most between the audio and the json of an utterance, such as its other files."""


@dataclass(frozen=True, kw_only=True)
class StoredAudio:
    """The place of an utterance in a shard; its length is that of the audio file.

    Args:
        audio: The positions of the bytes of the audio file.
        json: Those of its json.
        checksum: The CRC-32 of the headers of both files and of the json.
    """

    audio: range
    json: range
    checksum: int

    def __len__(self) -> int:
        return len(self.audio)

    def read(self, descriptor: int, *parts: range) -> list[bytes]:
        """Return parts of the audio file.

        Args:
            descriptor: That of the open shard, whose position does not change.
            parts: Positions of bytes in the audio file.

        Raises:
            ValueError: Something else is at this place.
        """

        def read_with_header(place: range, num_bytes: int) -> bytes:
            start = place.start - tarfile.BLOCKSIZE
            return os.pread(descriptor, tarfile.BLOCKSIZE + num_bytes, start)

        header, text = read_with_header(self.audio, 0), read_with_header(self.json, len(self.json))
        places = [self.audio[part.start : part.stop] for part in parts]
        content = [os.pread(descriptor, len(place), place.start) for place in places]
        is_whole = all(map(eq, map(len, content), map(len, parts)))
        if _checksum(header, text) != self.checksum or not is_whole:
            raise ValueError("another file is at the place of this utterance")
        return content

    def read_ahead(self, descriptor: int) -> None:
        """Ask the operating system to read the audio file into its cache, without waiting."""
        if hasattr(os, "posix_fadvise"):  # not on macOS
            advice = os.POSIX_FADV_WILLNEED
            os.posix_fadvise(descriptor, self.audio.start, len(self.audio), advice)


@dataclass(frozen=True, kw_only=True)
class IndexedUtterance:
    """An utterance of a shard as its index lists it."""

    key: str
    place: StoredAudio
    metadata: dict[str, Any]


@dataclass(frozen=True)
class StoredFile:
    """A file of a shard: its last header, its place, and its content if it was read."""

    header: bytes
    place: range
    content: bytes | None


def read_file(
    archive: tarfile.TarFile, member: tarfile.TarInfo, *, with_content: bool
) -> StoredFile:
    """Read a regular file of a shard, which is not sparse."""
    stream: Any = archive.fileobj
    stream.seek(member.offset_data - tarfile.BLOCKSIZE)
    header = stream.read(tarfile.BLOCKSIZE)
    content = archive.extractfile(member).read() if with_content else None  # type: ignore[union-attr]
    place = range(member.offset_data, member.offset_data + member.size)
    return StoredFile(header, place, content)


def place_of(audio: StoredFile, text: StoredFile) -> StoredAudio:
    """Return the place of an utterance, whose json was read."""
    assert text.content is not None
    check = _checksum(audio.header, text.header, text.content)
    return StoredAudio(audio=audio.place, json=text.place, checksum=check)


def _checksum(*parts: bytes) -> int:
    return zlib.crc32(b"".join(parts))


def index_of(shard: Path) -> Path:
    """Return the path of the index of a shard."""
    return shard.with_name(shard.name + INDEX_SUFFIX)


def read_index(shard: Path, stream: BinaryIO) -> list[IndexedUtterance] | None:
    """Return the utterances of a shard from its index; None if it has none that fits.

    An index fits if it is not older than the shard, states its size, and its first and last
    utterances are in the shard.

    Args:
        stream: The open shard.
    """
    path = index_of(shard)
    status = os.fstat(stream.fileno())
    try:
        if path.stat().st_mtime_ns < status.st_mtime_ns:
            return None
        content = json.loads(read_text(path, max_bytes=MAX_INDEX_BYTES))
        if content["format"] != _FORMAT or content["num_bytes"] != status.st_size:
            return None
        utterances = [_utterance(*row, num_bytes=status.st_size) for row in content["utterances"]]
        for utterance in utterances[:1] + utterances[-1:]:
            utterance.place.read(stream.fileno())
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    return utterances


def write_index(shard: Path, num_bytes: int, utterances: Sequence[IndexedUtterance]) -> bool:
    """Write the index of a shard at once, unless its folder refuses; return True if it is written.

    Several processes may do so at the same time.

    Args:
        num_bytes: The size of the shard.
    """
    rows = [
        [
            each.key,
            [each.place.audio.start, each.place.audio.stop],
            [each.place.json.start, each.place.json.stop],
            each.place.checksum,
            each.metadata,
        ]
        for each in utterances
    ]
    header = {"format": _FORMAT, "num_bytes": num_bytes}
    # One line for each utterance, for people who look into it.
    lines = ",\n".join(json.dumps(row) for row in rows)
    text = f'{json.dumps(header)[:-1]}, "utterances": [\n{lines}\n]}}\n'
    if len(text) > MAX_INDEX_BYTES or not all(_is_readable(each.place) for each in utterances):
        return False
    try:
        # Of processes that write at the same time, one may put the unfinished file of another in
        # place, which nobody can parse, until the other has written the rest of the same text.
        replace_text(index_of(shard), text)
    except OSError:  # A folder of somebody else, or a full disk: reading does not depend on it.
        return False
    return True


def _utterance(
    key: str, audio: list[int], text: list[int], check: int, metadata: Any, *, num_bytes: int
) -> IndexedUtterance:
    """Return an utterance of an index; a ValueError or TypeError says that it cannot be one."""
    place = StoredAudio(audio=range(*audio), json=range(*text), checksum=check)
    is_inside = all(
        tarfile.BLOCKSIZE <= each.start <= each.stop <= num_bytes and each.step == 1
        for each in (place.audio, place.json)
    )
    if not (isinstance(key, str) and isinstance(metadata, dict)):
        raise TypeError(key)
    if not is_inside or not _is_readable(place):
        raise ValueError(key)
    return IndexedUtterance(key=key, place=place, metadata=metadata)


def _is_readable(place: StoredAudio) -> bool:
    """Return True if what is read of an utterance at once is not too large."""
    first, second = sorted((place.audio, place.json), key=lambda each: each.start)
    return (
        len(place.audio) <= MAX_AUDIO_BYTES
        and len(place.json) <= MAX_JSON_BYTES
        and second.start - first.stop <= _MAX_GAP_BYTES
    )
