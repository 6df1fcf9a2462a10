import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.data.preparation.archive_files import noise
from tests.data.shard_files import encoded_audio
from w2v2_mt.data.preparation import ffmpeg
from w2v2_mt.data.preparation.audio import DecodedAudio
from w2v2_mt.data.preparation.ffmpeg import check_ffmpeg, decode_with_ffmpeg

pytestmark = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")


def m4a(folder: Path, *, seed: int = 0, num_samples: int = 16_000, options: str = "") -> bytes:
    """Noise as AAC, in a file with its directory at the end."""
    (folder / "in.wav").write_bytes(encoded_audio(noise(seed, num_samples=num_samples) // 8))
    command = f"ffmpeg -y -loglevel error -i in.wav {options} -c:a aac -b:a 64k out.m4a"
    subprocess.run(command.split(), cwd=folder, check=True)
    return (folder / "out.m4a").read_bytes()


def decoded_alone(folder: Path, content: bytes) -> np.ndarray:
    (folder / "alone.m4a").write_bytes(content)
    command = "ffmpeg -loglevel error -i alone.m4a -f s16le -ar 16000 -ac 1 -"
    finished = subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    return np.frombuffer(finished.stdout, dtype=np.int16)


def decode(folder: Path, *contents: bytes) -> list[DecodedAudio | ValueError]:
    sources = [f"archive: {number}.m4a" for number in range(len(contents))]
    return decode_with_ffmpeg(contents, sources=sources, scratch=folder)


def test_many_files_in_one_process_are_what_each_is_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = [m4a(tmp_path, seed=seed, num_samples=8000 + 1111 * seed) for seed in range(7)]
    expected = [decoded_alone(tmp_path, content) for content in contents]
    before = sorted(tmp_path.iterdir())
    for files_per_process in (1, 3, 16):
        monkeypatch.setattr(ffmpeg, "FILES_PER_PROCESS", files_per_process)
        for answer, samples in zip(decode(tmp_path, *contents), expected, strict=True):
            assert isinstance(answer, DecodedAudio)
            assert not answer.was_converted
            np.testing.assert_array_equal(answer.samples, samples)
    assert sorted(tmp_path.iterdir()) == before


def test_bad_files_answer_for_themselves_and_spare_the_others(tmp_path: Path) -> None:
    good = m4a(tmp_path)
    (tmp_path / "front.m4a").write_bytes(good)
    # With its directory in front, a truncated file promises more than it holds.
    command = "ffmpeg -y -loglevel error -i front.m4a -c copy -movflags faststart truncated.m4a"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    truncated = (tmp_path / "truncated.m4a").read_bytes()[: len(good) // 2]
    bad = [b"", b"this is a text", good[: len(good) // 2], truncated]
    first, *answers, last = decode(tmp_path, good, *bad, good)
    assert isinstance(first, DecodedAudio)
    assert isinstance(last, DecodedAudio)
    np.testing.assert_array_equal(first.samples, decoded_alone(tmp_path, good))
    np.testing.assert_array_equal(first.samples, last.samples)
    for number, answer in enumerate(answers, start=1):
        assert isinstance(answer, ValueError)
        assert f"archive: {number}.m4a cannot be decoded by ffmpeg" in str(answer)


@pytest.mark.parametrize(
    ("does", "complaint"),
    [
        ("kill -9 $$", "ffmpeg was stopped by signal 9; run this again"),
        ("echo 'av_interleaved_write_frame(): No space left on device' >&2; exit 1", "No space"),
    ],
)
def test_what_stops_ffmpeg_from_outside_rejects_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, does: str, complaint: str
) -> None:
    stand_in = tmp_path / "bin" / "ffmpeg"
    stand_in.parent.mkdir()
    stand_in.write_text(f"#!/bin/sh\n{does}\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{stand_in.parent}:{os.environ['PATH']}")
    with pytest.raises(OSError, match=complaint):
        decode(tmp_path, b"", b"")


@pytest.mark.parametrize("options", ["-ar 44100", "-ac 2", "-ar 8000"])
def test_what_is_not_16_khz_mono_is_converted_and_told(tmp_path: Path, options: str) -> None:
    (answer,) = decode(tmp_path, m4a(tmp_path, options=options))
    assert isinstance(answer, DecodedAudio)
    assert answer.was_converted
    assert abs(len(answer.samples) - 16_000) < 0.1 * 16_000


def test_a_machine_without_ffmpeg_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    check_ffmpeg()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ValueError, match="ffmpeg is not on the PATH.*install the package ffmpeg"):
        check_ffmpeg()
