import errno
import io
import os
import tarfile
from pathlib import Path

import pytest
import soundfile

from tests.helpers.archive_files import noise
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.core.shard_index import index_of, read_index
from w2v2_mt.data.shards import read_shard
from w2v2_mt.prepare.archives import Piece
from w2v2_mt.prepare.shard_writer import ShardTask, Utterance, write_shard


def task_of(folder: Path, *audio: bytes, is_strict: bool = False, **changes: object) -> ShardTask:
    container = folder / "container"
    container.write_bytes(b"".join(audio))
    offsets = [sum(map(len, audio[:index])) for index in range(len(audio))]
    utterances = [
        Utterance(
            key=f"reader/chapter/{number}",
            source=f"container: {number}.wav",
            audio=Piece(container, f"{number}.wav", offset, len(content)),
            labels={},
        )
        for number, (offset, content) in enumerate(zip(offsets, audio, strict=True))
    ]
    settings = {
        "path": folder / "shard.tar",
        "report": folder / "report.json",
        "utterances": utterances,
        "audio_format": "wav",
        "is_strict": is_strict,
        "work": folder,
    }
    return ShardTask(**{**settings, **changes})


def test_what_is_not_16_khz_mono_is_converted_and_counted(tmp_path: Path) -> None:
    narrow = encoded_audio(noise(0, num_samples=800), sample_rate_hz=8000)
    report = write_shard(task_of(tmp_path, encoded_audio(noise(1)), narrow))
    assert ([*report.num_frames.values()], report.num_converted) == ([1600, 1600], 1)
    assert [sample.metadata["num_frames"] for sample in read_shard(tmp_path / "shard.tar")] == [
        1600,
        1600,
    ]


def test_strict_rejects_what_is_not_16_khz_mono(tmp_path: Path) -> None:
    narrow = encoded_audio(noise(0), sample_rate_hz=8000)
    report = write_shard(task_of(tmp_path, encoded_audio(noise(1)), narrow, is_strict=True))
    assert [*report.num_frames] == ["reader/chapter/0"]
    (rejection,) = report.rejections
    assert rejection.file == "container: 1.wav"
    assert "not 16 kHz mono" in rejection.reason


@pytest.mark.parametrize("audio_format", ["wav", "flac"])
def test_the_index_is_that_of_a_reader(tmp_path: Path, audio_format: str) -> None:
    audio = [encoded_audio(noise(number)) for number in range(3)]
    write_shard(task_of(tmp_path, *audio, audio_format=audio_format))
    index = index_of(tmp_path / "shard.tar")
    with (tmp_path / "shard.tar").open("rb") as stream:
        assert read_index(tmp_path / "shard.tar", stream) is not None
    written = index.read_bytes()
    index.unlink()
    assert len(list(read_shard(tmp_path / "shard.tar"))) == 3
    assert index.read_bytes() == written


def test_flac_holds_the_same_samples_in_fewer_bytes(tmp_path: Path) -> None:
    tone = (noise(0, num_samples=100) // 64).repeat(160)
    write_shard(task_of(tmp_path, encoded_audio(tone), audio_format="flac"))
    (sample,) = read_shard(tmp_path / "shard.tar")
    assert sample.audio.startswith(b"fLaC")
    assert soundfile.read(io.BytesIO(sample.audio), dtype="int16")[0].tolist() == tone.tolist()
    assert len(sample.audio) < tone.nbytes / 2


def test_a_shard_that_cannot_be_written_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    task = task_of(tmp_path, encoded_audio(noise(0)))
    (tmp_path / "workers_lock").touch()
    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OSError, match="No space left"):
        write_shard(task)
    assert sorted(tmp_path.iterdir()) == before


def test_a_disk_that_gives_back_something_else_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = tarfile.TarFile.addfile

    def damaged(tar: tarfile.TarFile, member: tarfile.TarInfo, content: io.BytesIO) -> None:
        flipped = content.getvalue()[:-1] + bytes([content.getvalue()[-1] ^ 1])
        write(tar, member, io.BytesIO(flipped))

    monkeypatch.setattr(tarfile.TarFile, "addfile", damaged)
    with pytest.raises(OSError, match="cannot be read back as it was written"):
        write_shard(task_of(tmp_path, encoded_audio(noise(0))))
    assert not (tmp_path / "shard.tar").exists()


def test_an_utterance_shorter_than_a_frame_is_rejected(tmp_path: Path) -> None:
    short, enough = (encoded_audio(noise(0, num_samples=number)) for number in (399, 400))
    report = write_shard(task_of(tmp_path, short, enough))
    (rejection,) = report.rejections
    assert rejection.reason == (
        "it has 399 samples at 16 kHz; one frame of the networks takes 400."
    )
    assert list(report.num_frames.values()) == [400]
