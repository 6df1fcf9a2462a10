import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.progress import Progress

from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.recordings import Recording, recording_key
from w2v2_mt.prepare.audio import decode, decode_segment
from w2v2_mt.prepare.audio_sources import OpenFiles
from w2v2_mt.prepare.recorded_audio import RecordedFiles, open_recorded_files

DURATION_SEC = 20.5
SEGMENTS_SEC = ((0.0, 0.5), (0.03, 1.37), (7.9, 8.2), (9.1234, 15.0), (19.0, 20.5))


def write_audio(path: Path, *, rate_hz: int, num_channels: int = 1, seed: int = 0) -> Path:
    """Write band-limited noise, so that no resampler has to remove half of it."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((round(DURATION_SEC * rate_hz), num_channels))
    smooth = np.apply_along_axis(np.convolve, 0, noise, np.hanning(rate_hz // 2000), "same")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * smooth / np.abs(smooth).max(), rate_hz)
    return path


def segment(path: str, start_sec: float | None, end_sec: float | None) -> Recording:
    return Recording(
        key=recording_key(path, start_sec=start_sec, end_sec=end_sec),
        path=path,
        line="mine.csv, line 2",
        start_sec=start_sec,
        end_sec=end_sec,
    )


def open_files(root: Path, recordings: list[Recording]) -> RecordedFiles:
    work = root / "work"
    work.mkdir(exist_ok=True)
    with Workers(0) as workers:
        return open_recorded_files(
            recordings, root=root, work=work, workers=workers, bars=Progress(disable=True)
        )


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100, 22_050])
def test_a_segment_is_what_the_whole_file_has_there(
    tmp_path: Path, suffix: str, rate_hz: int
) -> None:
    path = write_audio(tmp_path / f"long.{suffix}", rate_hz=rate_hz, num_channels=2)
    whole, is_converted = decode(path, source="x")
    for start_sec, end_sec in SEGMENTS_SEC:
        part, _ = decode_segment(path, start_sec=start_sec, end_sec=end_sec, source="x")
        expected = whole[round(16_000 * start_sec) : round(16_000 * end_sec)]
        # The block in which a resampler computes a sample may change its last bit.
        np.testing.assert_allclose(part, expected, atol=0 if rate_hz == 16_000 else 1)
    last, _ = decode_segment(path, start_sec=20.0, end_sec=None, source="x")
    np.testing.assert_allclose(last, whole[320_000:], atol=1)
    assert is_converted


def test_the_end_of_a_segment_may_be_rounded_but_not_wrong(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "long.wav", rate_hz=16_000)
    part, _ = decode_segment(path, start_sec=20.0, end_sec=20.55, source="x")
    assert len(part) == 8_000
    with pytest.raises(ValueError, match="from 20 s to 21 s, but the file ends at 20.50 s"):
        decode_segment(path, start_sec=20.0, end_sec=21.0, source="x")
    with pytest.raises(ValueError, match="from 30 s to its end, but the file ends at 20.50 s"):
        decode_segment(path, start_sec=30.0, end_sec=None, source="x")


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_truncated_file_has_no_segments(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"long.{suffix}", rate_hz=16_000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="truncated|corrupt"):
        decode_segment(path, start_sec=15.0, end_sec=16.0, source="x")


def test_a_file_in_which_one_cannot_seek_is_decoded_once(tmp_path: Path) -> None:
    for name in ("long.mp3", "long.flac", "once.mp3"):
        write_audio(tmp_path / name, rate_hz=16_000)
    recordings = [
        segment(name, *each) for name in ("long.mp3", "long.flac") for each in SEGMENTS_SEC
    ]
    recordings += [segment("once.mp3", 1.0, 2.0), segment("long.mp3", None, None)]
    files = open_files(tmp_path, recordings)
    copies = sorted(path.name for path in (tmp_path / "work" / "decoded").iterdir())
    assert copies == ["000000.json", "000001.json", "000001.w64"]
    used = {files.audio_of(each).path.name for each in recordings if each.is_segment}
    assert used == {"000001.w64", "long.flac", "once.mp3"}
    assert files.audio_of(recordings[-1]).path.name == "long.mp3"
    whole, _ = decode(tmp_path / "long.mp3", source="x")
    for recording, (start_sec, end_sec) in zip(recordings, SEGMENTS_SEC, strict=False):
        part = files.audio_of(recording).decode(OpenFiles(), source="x").samples
        np.testing.assert_array_equal(
            part, whole[round(16_000 * start_sec) : round(16_000 * end_sec)]
        )


def test_copies_are_kept_when_a_run_resumes(tmp_path: Path) -> None:
    write_audio(tmp_path / "long.mp3", rate_hz=22_050)
    recordings = [segment("long.mp3", *each) for each in SEGMENTS_SEC]
    open_files(tmp_path, recordings)
    copy = tmp_path / "work" / "decoded" / "000000.w64"
    copy.write_bytes(b"marked")
    files = open_files(tmp_path, recordings)
    assert copy.read_bytes() == b"marked"
    assert files.audio_of(recordings[0]).is_converted


def test_all_segments_of_a_corrupt_file_have_its_problem(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "long.mp3", rate_hz=16_000)
    path.write_bytes(path.read_bytes()[:-50])
    recordings = [segment("long.mp3", *each) for each in SEGMENTS_SEC]
    files = open_files(tmp_path, recordings)
    assert (
        "truncated"
        in json.loads((tmp_path / "work" / "decoded" / "000000.json").read_text())["problem"]
    )
    for each in recordings:
        with pytest.raises(ValueError, match="truncated"):
            files.audio_of(each).decode(OpenFiles(), source="x")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    files = open_files(tmp_path, [])
    with pytest.raises(ValueError, match="gone.wav does not exist"):
        files.audio_of(segment("gone.wav", None, None)).decode(OpenFiles(), source="x")
