"""Shards: tar files of utterances, found in a folder and read as encoded samples.

A sample is two neighbouring members, `<key>.wav` (or `.flac`) and `<key>.json`; the key holds
slashes. Other members are skipped unread, so nothing in a shard is ever unpickled.
"""

import json
import os
import tarfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

from webdataset.tariterators import group_by_keys, tar_file_expander

from w2v2_mt.core.samples import EncodedSample, StoredAudio, opened_shard

SHARD_PATTERN = "*.tar"
_AUDIO_SUFFIXES = ("wav", "flac")
_FACTS_SUFFIX = "json"
_END_OF_ARCHIVE = bytes(2 * tarfile.BLOCKSIZE)


def find_shards(folder: Path, *, producer: str) -> list[Path]:
    """The shards of a folder by name; none is a ValueError that says to run `producer`."""
    shards = sorted(folder.glob(SHARD_PATTERN))
    if not shards:
        raise ValueError(
            f"no shards match {SHARD_PATTERN!r} in {folder}: run {producer} or set DATA_FOLDER"
        )
    return shards


def read_shard(shard: Path) -> Iterator[EncodedSample]:
    """The samples of a shard in order.

    A shard that is truncated, damaged or lacks a member of an utterance is a ValueError that names
    it.
    """
    for members in _read_members(shard):
        yield _encoded_sample(members, shard)


def read_shard_without_audio(shard: Path) -> Iterator[EncodedSample]:
    """The samples of `read_shard`, with the place of their audio in its stead, which is not read.

    A shard that is damaged, as far as this can be seen, is a ValueError that names it.
    """
    with opened_shard(shard) as stream:
        if not _ends_like_an_archive(stream):
            raise _damaged(shard, "the end of the archive is missing")
        try:
            with tarfile.open(fileobj=stream, mode="r:") as archive:
                files = (member for member in archive if member.isfile() and _is_read(member.name))
                for key, members in groupby(files, lambda member: _key_and_suffix(member.name)[0]):
                    contents: dict[str, Any] = {"__key__": key}
                    contents |= dict(_content(member, archive, shard) for member in members)
                    yield _encoded_sample(contents, shard)
                end = archive.offset
        except tarfile.TarError as error:
            raise _damaged(shard, str(error.args[0])) from error
        stream.seek(end)
        _check_end(stream, shard)


def _content(
    member: tarfile.TarInfo, archive: tarfile.TarFile, shard: Path
) -> tuple[str, bytes | StoredAudio]:
    """The suffix of a member, and its bytes or, if it is audio, where they lie."""
    suffix = _key_and_suffix(member.name)[1].lower()
    if suffix == _FACTS_SUFFIX:
        file = archive.extractfile(member)
        assert file is not None
        return suffix, file.read()
    return suffix, StoredAudio(shard=shard, offset=member.offset_data, num_bytes=member.size)


def _encoded_sample(members: dict[str, Any], shard: Path) -> EncodedSample:
    key = members["__key__"]
    audio = [members[suffix] for suffix in _AUDIO_SUFFIXES if suffix in members]
    if len(audio) != 1 or _FACTS_SUFFIX not in members:
        found = sorted(suffix for suffix in members if not suffix.startswith("__"))
        raise ValueError(
            f"utterance {key} in shard {shard} has the members {found}, not one audio file "
            "(wav or flac) and json: write the shard again"
        )
    facts = _facts(members[_FACTS_SUFFIX], key, shard)
    return EncodedSample(key=key, audio=audio[0], facts=facts, shard=str(shard))


def _facts(content: bytes, key: str, shard: Path) -> dict[str, Any]:
    try:
        return json.loads(content)
    except ValueError as error:
        raise ValueError(
            f"the json of utterance {key} in shard {shard} cannot be read ({error}): "
            "write the shard again"
        ) from error


def _read_members(shard: Path) -> Iterator[dict[str, Any]]:
    with opened_shard(shard) as stream:
        if not _ends_like_an_archive(stream):
            raise _damaged(shard, "the end of the archive is missing")
        try:
            opened = [{"url": str(shard), "stream": stream}]
            files = tar_file_expander(opened, select_files=_is_read)
            yield from group_by_keys(files, keys=_key_and_suffix)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise _damaged(shard, str(error.args[0])) from error
        _check_end(stream, shard)


def _check_end(stream: BinaryIO, shard: Path) -> None:
    # tarfile takes a broken header in mid-file for the end: after the end all is zero.
    if any(stream.read()):
        raise _damaged(shard, "a member's header cannot be read")


def _ends_like_an_archive(stream: BinaryIO) -> bool:
    size = stream.seek(0, os.SEEK_END)
    stream.seek(max(0, size - len(_END_OF_ARCHIVE)))
    end = stream.read()
    stream.seek(0)
    return end == _END_OF_ARCHIVE


def _damaged(shard: Path, reason: str) -> ValueError:
    return ValueError(f"shard {shard} is truncated or damaged ({reason}): write it again")


def _key_and_suffix(name: str) -> tuple[str, str]:
    key, _, suffix = name.rpartition(".")
    return key, suffix


def _is_read(name: str) -> bool:
    return name.lower().endswith((*(f".{suffix}" for suffix in _AUDIO_SUFFIXES), ".json"))
