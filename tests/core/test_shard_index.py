"""The index of a shard is what a pass over its headers finds, or it is ignored."""

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.helpers.shard_files import (
    encoded_audio,
    librispeech_utterances,
    write_members,
    write_shard,
)
from w2v2_mt.core.shard_index import index_of, read_index
from w2v2_mt.data.shards import read_shard

WAV = encoded_audio(np.zeros(100))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "s_000000.tar"
    write_shard(path, librispeech_utterances(num_utterances=5, first_reader=84, seed=0))
    return path


def _samples(shard: Path, **options: Any) -> list[tuple[str, bytes, dict[str, Any], int | None]]:
    return [
        (each.key, each.audio_file(), each.metadata, each.number)
        for each in read_shard(shard, **options)
    ]


def _fits(shard: Path) -> bool:
    with shard.open("rb") as stream:
        return read_index(shard, stream) is not None


@pytest.mark.parametrize("with_audio", [False, True])
def test_a_first_pass_writes_the_index_and_the_second_reads_the_same(
    shard: Path, with_audio: bool
) -> None:
    assert not index_of(shard).exists()
    scanned = _samples(shard, with_audio=with_audio)
    assert index_of(shard).name == "s_000000.tar.index"
    assert _fits(shard)
    assert _samples(shard, with_audio=with_audio) == scanned
    assert [number for _, _, _, number in scanned] == [0, 1, 2, 3, 4]
    assert _samples(shard, trusts_index=False) == scanned


def test_the_headers_are_not_read_with_an_index(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned = _samples(shard)

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the headers are read")

    monkeypatch.setattr(tarfile, "open", refuse)
    assert _samples(shard) == scanned


@pytest.mark.parametrize("has_index", [False, True])
@pytest.mark.parametrize("with_audio", [False, True])
def test_reading_begins_anywhere(shard: Path, has_index: bool, with_audio: bool) -> None:
    if has_index:
        list(read_shard(shard))
    whole = _samples(shard, trusts_index=False)
    for start in range(6):
        assert _samples(shard, start=start, with_audio=with_audio) == whole[start:]
        if not has_index:
            index_of(shard).unlink()


def test_long_names_other_files_and_json_before_audio_are_indexed(tmp_path: Path) -> None:
    path, long = tmp_path / "s.tar", "a" * 150
    members = [("b/1.json", b'{"x": 1}'), ("b/1.txt", b"0" * 700), ("b/1.wav", WAV)]
    write_members(path, [(f"{long}/é.wav", WAV), (f"{long}/é.json", b"{}"), *members])
    scanned = _samples(path)
    assert _fits(path)
    assert _samples(path) == scanned
    assert [key for key, *_ in scanned] == [f"{long}/é", "b/1"]


def test_a_shard_that_was_written_again_has_a_new_index(shard: Path) -> None:
    list(read_shard(shard))
    utterances = librispeech_utterances(num_utterances=5, first_reader=84, seed=0)
    content = shard.read_bytes()
    write_shard(shard, list(reversed(utterances)))
    assert len(shard.read_bytes()) == len(content)
    expected = [each.key for each in reversed(utterances)]
    assert [each.key for each in read_shard(shard)] == expected
    assert _fits(shard)
    assert [each.key for each in read_shard(shard)] == expected


def test_a_shard_that_replaces_another_is_read_itself(shard: Path, tmp_path: Path) -> None:
    (old, *_) = read_shard(shard, with_audio=False)
    content = old.audio_file()
    other = tmp_path / "other.tar"
    write_shard(other, librispeech_utterances(num_utterances=5, first_reader=94, seed=1))
    expected = _samples(other)
    other.replace(shard)
    assert _samples(shard, with_audio=False) == expected
    assert expected[0][1] != content
    with pytest.raises(ValueError, match="must have utterance .* but has changed"):
        old.audio_file()


def test_an_older_index_is_made_again(shard: Path) -> None:
    list(read_shard(shard))
    text = index_of(shard).read_text()
    index_of(shard).write_text(text.replace('"MOON', '"NOON'))
    now = shard.stat().st_mtime_ns
    os.utime(index_of(shard), ns=(now - 1, now - 1))
    assert not _fits(shard)
    list(read_shard(shard))
    assert index_of(shard).read_text() == text


def test_the_index_of_another_shard_is_made_again(shard: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.tar"
    write_shard(other, librispeech_utterances(num_utterances=5, first_reader=94, seed=0))
    assert other.stat().st_size == shard.stat().st_size
    expected = _samples(shard)
    list(read_shard(other))
    index_of(other).replace(index_of(shard))
    assert _samples(shard) == expected
    assert _fits(shard)


def test_a_content_that_changed_in_the_middle_is_refused_where_it_is_read(shard: Path) -> None:
    list(read_shard(shard))
    time = index_of(shard).stat().st_mtime_ns
    content = shard.read_bytes()
    shard.write_bytes(content.replace(b'"utterance_id": "0002"', b'"utterance_id": "0009"'))
    os.utime(shard, ns=(time, time))  # A copy that keeps an old time.
    message = (
        rf"^Shard {shard} must have utterance 84/121125/0002 where it was .* remove "
        rf"{index_of(shard)}, which is then made again; otherwise write the shard again\.$"
    )
    with pytest.raises(ValueError, match=message):
        list(read_shard(shard))
    third = list(read_shard(shard, with_audio=False))[2]
    with pytest.raises(ValueError, match=message):
        third.audio_file()
    index_of(shard).unlink()
    assert [each.metadata["utterance_id"] for each in read_shard(shard)][2] == "0009"


def test_a_folder_that_may_not_be_written_is_read_all_the_same(
    shard: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    expected = _samples(shard)
    index_of(shard).unlink()
    monkeypatch.setattr(os, "replace", refuse)
    assert _samples(shard) == expected
    assert os.listdir(shard.parent) == [shard.name]


def test_the_unfinished_index_of_a_killed_process_does_not_stay(shard: Path) -> None:
    (shard.parent / f".{index_of(shard).name}.part").write_text('{"format": ')
    _samples(shard)
    assert sorted(os.listdir(shard.parent)) == [shard.name, index_of(shard).name]


def test_a_reader_that_stops_early_writes_no_index(shard: Path) -> None:
    next(read_shard(shard))
    assert os.listdir(shard.parent) == [shard.name]


def test_a_truncated_shard_is_refused_whatever_its_index(shard: Path) -> None:
    list(read_shard(shard))
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"s_000000\.tar is truncated or corrupt .*\. Write it"):
        list(read_shard(shard))


def test_an_index_is_json_with_a_line_for_each_utterance(shard: Path) -> None:
    list(read_shard(shard))
    text = index_of(shard).read_text()
    assert len(text.splitlines()) == 1 + 5 + 1
    content = json.loads(text)
    assert content["num_bytes"] == shard.stat().st_size
    assert [key for key, *_ in content["utterances"]] == [each.key for each in read_shard(shard)]
