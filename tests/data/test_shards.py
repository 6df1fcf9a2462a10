import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.shard_files import (
    Utterance,
    encoded_audio,
    librispeech_utterances,
    write_members,
    write_shard,
)
from w2v2_mt.data.shards import find_shards, read_shard

WAV = encoded_audio(np.zeros(100))


@pytest.fixture
def utterances() -> list[Utterance]:
    return librispeech_utterances(num_utterances=5, first_reader=84, seed=0)


@pytest.fixture
def shard(tmp_path: Path, utterances: list[Utterance]) -> Path:
    path = tmp_path / "a-shard-000000.tar"
    write_shard(path, utterances)
    return path


def test_shards_are_found_in_the_order_of_their_names(tmp_path: Path) -> None:
    for name in ("s_000010.tar", "s_000002.tar", "s_000001.tar", "meta.json"):
        (tmp_path / name).touch()
    names = [shard.name for shard in find_shards(tmp_path, producer="x.sh")]
    assert names == ["s_000001.tar", "s_000002.tar", "s_000010.tar"]


@pytest.mark.parametrize("folder", ["empty", "missing"])
def test_a_folder_without_shards_says_what_to_run(tmp_path: Path, folder: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"must hold shards \(\*\.tar\)\. Run x\.sh or set DATA"):
        find_shards(tmp_path / folder, producer="x.sh")


def test_a_folder_that_may_not_be_read_is_not_called_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "shards").mkdir(mode=0o000)
    monkeypatch.chdir(tmp_path)
    request.getfixturevalue("ordinary_user")
    with pytest.raises(PermissionError, match="shards"):
        find_shards(Path("shards"), producer="x.sh")


def test_samples_come_in_order_with_bytes_metadata_and_shard(
    shard: Path, utterances: list[Utterance]
) -> None:
    samples = list(read_shard(shard))
    assert [sample.key for sample in samples] == [utterance.key for utterance in utterances]
    assert [sample.metadata for sample in samples] == [
        utterance.metadata for utterance in utterances
    ]
    assert samples[3].audio == encoded_audio(utterances[3].waveform)
    assert {sample.shard for sample in samples} == {str(shard)}


def test_metadata_are_those_of_the_samples_without_their_audio(
    tmp_path: Path, utterances: list[Utterance], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = tmp_path / "a.tar"
    members = [(f"{each.key}.wav", bytes(10**6)) for each in utterances]
    metadata = [(f"{each.key}.json", json.dumps(each.metadata).encode()) for each in utterances]
    write_members(shard, [pair for pairs in zip(members, metadata, strict=True) for pair in pairs])
    num_bytes = 0
    original = tarfile.ExFileObject.read

    def read(file: tarfile.ExFileObject, *arguments: int) -> bytes:
        nonlocal num_bytes
        content = original(file, *arguments)
        num_bytes += len(content)
        return content

    monkeypatch.setattr(tarfile.ExFileObject, "read", read)
    samples = list(read_shard(shard, with_audio=False))
    assert [(each.key, each.metadata) for each in samples] == [
        (each.key, each.metadata) for each in utterances
    ]
    assert num_bytes == sum(len(content) for _, content in metadata)
    for sample, read_at_once in zip(samples, read_shard(shard), strict=True):
        assert sample.audio != read_at_once.audio
        assert sample.audio_file() == read_at_once.audio_file()


def test_metadata_of_a_corrupt_shard_are_refused(shard: Path, tmp_path: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2])
    with pytest.raises(
        ValueError, match=r"000000\.tar is truncated or corrupt .*\. Write it again"
    ):
        list(read_shard(shard, with_audio=False))
    write_members(tmp_path / "b.tar", [("x.wav", WAV), ("x.json", b"{")])
    with pytest.raises(
        ValueError, match=r"The json of utterance x in shard .*b\.tar must be readable"
    ):
        list(read_shard(tmp_path / "b.tar", with_audio=False))


@pytest.mark.parametrize(
    "key", ["84/121123/0001", "id10001/_h.F-x/00001", "a/b/c.d.e", "plain", "a/__b__/c"]
)
def test_keys_are_kept_whole(tmp_path: Path, key: str) -> None:
    path = tmp_path / "s.tar"
    write_members(path, [(f"{key}.wav", WAV), (f"{key}.json", b"{}")])
    assert [sample.key for sample in read_shard(path)] == [key]


def test_flac_is_audio_too(tmp_path: Path) -> None:
    flac = encoded_audio(np.zeros(100), format="FLAC")
    write_members(tmp_path / "s.tar", [("a/b/1.flac", flac), ("a/b/1.json", b"{}")])
    assert [sample.audio for sample in read_shard(tmp_path / "s.tar")] == [flac]


class _Bomb:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.trace,)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "exploded"
    bomb = pickle.dumps(_Bomb(trace))
    utterance = Utterance(
        key="a/b/1",
        waveform=np.zeros(100),
        metadata={},
        other_members={"pyd": bomb, "pkl": bomb, "pickle": bomb, "pth": bomb, "ten": bomb},
    )
    write_shard(tmp_path / "s.tar", [utterance])
    (sample,) = read_shard(tmp_path / "s.tar")
    assert sample.audio == WAV
    assert not trace.exists()
    pickle.loads(bomb)  # the bomb does work
    assert trace.exists()


def _cut_in_audio(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _cut_in_header(content: bytes) -> bytes:
    (start,) = _header_positions(content, "84/121125/0002.json")
    return content[: start + 100]


def _cut_between_members(content: bytes) -> bytes:
    (start,) = _header_positions(content, "84/121125/0002.wav")
    return content[:start]


def _broken_header(content: bytes) -> bytes:
    (start,) = _header_positions(content, "84/121125/0002.wav")
    return content[:start] + b"\xff" * 512 + content[start + 512 :]


def _empty(content: bytes) -> bytes:
    return b""


def _zeros(content: bytes) -> bytes:
    return b"\xff" + bytes(20 * 512 - 1)


def _header_positions(content: bytes, name: str) -> list[int]:
    return [
        start
        for start in range(0, len(content), 512)
        if content[start : start + 512].startswith(name.encode() + b"\0")
    ]


@pytest.mark.parametrize(
    "damage",
    [_cut_in_audio, _cut_in_header, _cut_between_members, _broken_header, _empty, _zeros],
)
def test_a_corrupt_shard_is_named(shard: Path, damage: object) -> None:
    shard.write_bytes(damage(shard.read_bytes()))
    with pytest.raises(ValueError, match=rf"Shard {shard} is truncated or corrupt \(.+\)\. Write"):
        list(read_shard(shard))


def test_a_member_truncated_before_an_intact_end_is_found(shard: Path) -> None:
    content = shard.read_bytes()
    shard.write_bytes(content[: len(content) // 2 // 512 * 512] + bytes(1024))
    with pytest.raises(ValueError, match=rf"hard {shard} .* Write"):
        list(read_shard(shard))


@pytest.mark.parametrize(
    "members",
    [
        [("a/b/1.wav", WAV)],
        [("a/b/1.json", b"{}")],
        [("a/b/1.wav", WAV), ("a/b/2.wav", WAV), ("a/b/1.json", b"{}")],
        [("a/b/1.wav", WAV), ("a/b/1.flac", WAV), ("a/b/1.json", b"{}")],
    ],
)
def test_an_incomplete_utterance_is_named(tmp_path: Path, members: list[tuple[str, bytes]]) -> None:
    path = tmp_path / "s.tar"
    write_members(path, members)
    with pytest.raises(
        ValueError, match=rf"Utterance a/b/1 in shard {path} must have one audio file .* not \["
    ):
        list(read_shard(path))


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    write_members(tmp_path / "s.tar", [("a/1.wav", WAV), ("a/1.wav", WAV), ("a/1.json", b"{}")])
    with pytest.raises(ValueError, match=r"s\.tar is truncated or corrupt .*a/1\.wav: duplicate"):
        list(read_shard(tmp_path / "s.tar"))


def test_unreadable_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "s.tar"
    write_members(path, [("a/b/1.wav", WAV), ("a/b/1.json", b"{")])
    with pytest.raises(
        ValueError, match=rf"The json of utterance a/b/1 in shard {path} must be readable"
    ):
        list(read_shard(path))


def test_an_archive_of_another_tar_program_is_read(tmp_path: Path) -> None:
    # GNU tar with a larger blocking factor leaves more zeros behind the end.
    path = tmp_path / "s.tar"
    write_members(path, [("a/b/1.wav", WAV), ("a/b/1.json", json.dumps({"x": 1}).encode())])
    path.write_bytes(path.read_bytes() + bytes(100 * 512))
    assert [sample.metadata for sample in read_shard(path)] == [{"x": 1}]
    assert tarfile.is_tarfile(path)
