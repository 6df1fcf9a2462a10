"""Find shards, tar files of utterances, and read them as encoded samples.

A sample is two neighboring members, `<key>.wav` (or `.flac`) and `<key>.json`; the key contains
slashes. Other members are skipped, so nothing in a shard is ever unpickled.
"""

import fnmatch
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import group_by_keys

from w2v2_mt.core.limits import MAX_AUDIO_BYTES, MAX_JSON_BYTES, size_in_mib
from w2v2_mt.core.remote_files import announced_size
from w2v2_mt.core.samples import EncodedSample, open_shard
from w2v2_mt.core.shard_index import (
    IndexedUtterance,
    StoredAudio,
    place_of,
    read_file,
    read_index,
    write_index,
)
from w2v2_mt.core.tar_headers import BoundedTarInfo

SHARD_PATTERN = "*.tar"
_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)
_BLOCK_BYTES = 1 << 20


def find_shards(folder: Path, *, producer: str) -> list[Path]:
    """Return the shards of a folder by name; if there are none, raise a ValueError.

    A folder that may not be read is a PermissionError.

    Args:
        producer: The command that writes the shards, for the message.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    shards = [folder / name for name in sorted(fnmatch.filter(names, SHARD_PATTERN))]
    if not shards:
        raise ValueError(
            f"{folder} must hold shards ({SHARD_PATTERN}). Run {producer} or set DATA_FOLDER."
        )
    return shards


def shard_size(shard: Path) -> int:
    """Return the size of a shard in bytes; raise ValueError if it cannot be opened.

    A shard of another machine need not be downloaded for it.
    """
    if (size := announced_size(shard)) is not None:
        return size
    with open_shard(shard) as stream:
        return stream.seek(0, os.SEEK_END)


def read_shard(
    shard: Path,
    *,
    with_audio: bool = True,
    start: int = 0,
    trusts_index: bool = True,
    reads_ahead: bool = False,
) -> Iterator[EncodedSample]:
    """Yield the samples of a shard in order, with their audio or only its place.

    They are found through the index next to the shard. Without one, all headers are read, and the
    index is written at the end if the folder allows it.

    Args:
        start: The number of samples that are skipped.
        trusts_index: False reads the headers in any case.
        reads_ahead: Let the operating system begin to read the audio, which is needed later.

    Raises:
        ValueError: The shard is truncated or corrupt, as far as it is read, or lacks a member of an
            utterance.
    """
    with open_shard(shard) as stream:
        samples: Iterator[EncodedSample]
        indexed = read_index(shard, stream) if trusts_index else None
        if indexed is None:
            scanned = _scan_shard(shard, stream, with_audio=with_audio)
            samples = islice(scanned, start, None)
        else:
            samples = _make_samples(indexed, shard, start=start, with_audio=with_audio)
        for sample in samples:
            if reads_ahead and isinstance(sample.audio, StoredAudio):
                sample.audio.read_ahead(stream.fileno())
            yield sample


def _scan_shard(shard: Path, stream: BinaryIO, *, with_audio: bool) -> Iterator[EncodedSample]:
    """Yield the samples of an open shard after reading its headers, and write its index."""
    num_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, num_bytes - len(_END_OF_ARCHIVE)))
    if stream.read() != _END_OF_ARCHIVE:
        raise _corrupt(shard, "the end of the archive is missing")
    stream.seek(0)
    found: list[IndexedUtterance] = []
    try:
        with tarfile.open(fileobj=stream, mode="r:", tarinfo=BoundedTarInfo) as archive:
            for members in _group_members(archive, shard, with_audio=with_audio):
                utterance, content = _describe(members, shard)
                sample = _make_sample(utterance, shard, len(found))
                found.append(utterance)
                yield sample if content is None else replace(sample, audio=content)
            end = archive.offset
    except tarfile.TarError as error:
        raise _corrupt(shard, str(error)) from error
    # tarfile takes a corrupt header for the end of the archive, after which all bytes are zero.
    stream.seek(end)
    while rest := stream.read(_BLOCK_BYTES):
        if rest.count(0) < len(rest):
            raise _corrupt(shard, "a member's header cannot be read")
    if found:
        write_index(shard, num_bytes, found)


def _group_members(
    archive: tarfile.TarFile, shard: Path, *, with_audio: bool
) -> Iterator[dict[str, Any]]:
    try:
        yield from group_by_keys(_read_members(archive, shard, with_audio), keys=_split_name)
    except ValueError as error:
        raise _corrupt(shard, error.args[0]) from error


def _read_members(
    archive: tarfile.TarFile, shard: Path, with_audio: bool
) -> Iterator[dict[str, Any]]:
    for member in archive:
        suffix = _split_name(member.name)[1].lower()
        if not member.isfile() or suffix not in ("wav", "flac", "json"):
            continue
        max_bytes = MAX_JSON_BYTES if suffix == "json" else MAX_AUDIO_BYTES
        if not 0 <= member.size <= max_bytes or member.issparse():
            raise ValueError(
                f"{member.name} has {member.size} bytes or is sparse; plain files of up to "
                f"{size_in_mib(max_bytes)} are read"
            )
        file = read_file(archive, member, with_content=with_audio or suffix == "json")
        yield {"__url__": str(shard), "fname": member.name, "data": file}


def _split_name(name: str) -> tuple[str, str]:
    key, _, suffix = name.rpartition(".")
    return key, suffix


def _describe(members: dict[str, Any], shard: Path) -> tuple[IndexedUtterance, bytes | None]:
    """Return an utterance of two members, and its audio file if it was read."""
    key, files = members["__key__"], {name: members[name] for name in members if name[:2] != "__"}
    audio = [file for suffix, file in files.items() if suffix != "json"]
    if len(audio) != 1 or "json" not in files:
        raise ValueError(
            f"Utterance {key} in shard {shard} must have one audio file (wav or flac) and json, "
            f"not {sorted(files)}. Write the shard again."
        )
    text = files["json"]
    try:
        metadata = json.loads(text.content)
        if not isinstance(metadata, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"The json of utterance {key} in shard {shard} must be readable ({error}). "
            "Write the shard again."
        ) from error
    place = place_of(audio[0], text)
    return IndexedUtterance(key=key, place=place, metadata=metadata), audio[0].content


def _make_samples(
    indexed: Sequence[IndexedUtterance], shard: Path, *, start: int, with_audio: bool
) -> Iterator[EncodedSample]:
    for number in range(start, len(indexed)):
        sample = _make_sample(indexed[number], shard, number)
        yield replace(sample, audio=sample.audio_file()) if with_audio else sample


def _make_sample(utterance: IndexedUtterance, shard: Path, number: int) -> EncodedSample:
    return EncodedSample(
        key=utterance.key,
        audio=utterance.place,
        metadata=utterance.metadata,
        shard=str(shard),
        number=number,
    )


def _corrupt(shard: Path, reason: str) -> ValueError:
    return ValueError(f"Shard {shard} is truncated or corrupt ({reason}). Write it again.")
