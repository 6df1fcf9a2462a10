"""Prediction and preparation read every file alike, and AAC as the ffmpeg program does."""

import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from w2v2_mt.audio.files import read_header, read_windows
from w2v2_mt.prepare.audio import decode, round_to_16_bit

RATES_HZ = (8000, 16_000, 44_100, 48_000)
FORMATS = {
    "wav": "",
    "flac": "",
    "aiff": "",
    "ogg": "-c:a libvorbis",
    "opus": "-c:a libopus -ar 48000",
    "webm": "-c:a libopus -ar 48000",
    "mka": "-c:a libvorbis",
    "mp3": "-c:a libmp3lame",
    "m4a": "-c:a aac",
    "aac": "-c:a aac",
    "wma": "-c:a wmav2",
}
CASES = {
    **dict.fromkeys(("joined.mp3", "joined.ogg", "joined.opus"), 2),
    **dict.fromkeys(("tag.flac", "newline.flac", "streamed.flac"), 1),
    **dict.fromkeys(("id3twice.mp3", "zeros_first.mp3"), 1),
}
"""File -> how often it holds a recording of `CASE_SEC`."""

CASE_SEC = 4.645
MAX_PADDING_SEC = 0.21


def read_for_prediction(path: Path) -> np.ndarray:
    audio = read_header(path)
    windows = read_windows(audio, window_samples=16_000, hop_samples=16_000)
    return np.concatenate([window.waveform.numpy() for window in windows])


def read_for_preparation(path: Path) -> np.ndarray:
    return decode(path.read_bytes(), source=path.name)[0]


def write_speech(path: Path, *, rate_hz: int, num_channels: int, options: str = "") -> None:
    """Write a rising tone, louder in the first channel, through the ffmpeg program."""
    times = np.arange(3 * rate_hz) / rate_hz
    tone = 0.4 * np.sin(2 * np.pi * (200 + 300 * times) * times)
    channels = np.stack([tone / (1 + channel) for channel in range(num_channels)], axis=1)
    soundfile.write(path.with_name("source.wav"), channels, rate_hz, subtype="FLOAT")
    command = ["ffmpeg", "-y", "-loglevel", "error", "-i", path.with_name("source.wav")]
    subprocess.run([*command, *options.split(), path], check=True)  # type: ignore[list-item]


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.usefixtures("ffmpeg")
def test_prediction_and_preparation_read_the_same_samples(
    tmp_path: Path, suffix: str, num_channels: int
) -> None:
    for rate_hz in RATES_HZ:
        path = tmp_path / f"{rate_hz}.{suffix}"
        write_speech(path, rate_hz=rate_hz, num_channels=num_channels, options=FORMATS[suffix])
        waveform = read_for_prediction(path)
        samples = read_for_preparation(path)
        np.testing.assert_array_equal(round_to_16_bit(waveform), samples)
        assert 2.9 <= len(samples) / 16_000 <= 3 + MAX_PADDING_SEC
        assert np.abs(samples).max() > 0.25 * 0.4 * 32_768


def test_amr_is_read(tmp_path: Path) -> None:
    import av

    times = np.arange(16_000) / 8000
    tone = (8000 * np.sin(2 * np.pi * 440 * times)).astype(np.int16)
    frame = av.AudioFrame.from_ndarray(tone[None], format="s16", layout="mono")
    frame.sample_rate = 8000
    with av.open(tmp_path / "a.amr", "w") as container:
        stream = container.add_stream("libopencore_amrnb", rate=8000, layout="mono")
        container.mux([*stream.encode(frame), *stream.encode(None)])
    samples = read_for_preparation(tmp_path / "a.amr")
    np.testing.assert_array_equal(round_to_16_bit(read_for_prediction(tmp_path / "a.amr")), samples)
    assert len(samples) == pytest.approx(32_000, abs=700)
    spectrum = np.abs(np.fft.rfft(samples[8000:24_000]))
    assert spectrum.argmax() == 440


@pytest.mark.parametrize("options", ["", "-movflags +faststart", "-ss 0.5 -t 1.7", "-b:a 32k"])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_aac_is_what_the_ffmpeg_program_decodes(
    tmp_path: Path, ffmpeg: str, options: str, rate_hz: int
) -> None:
    path = tmp_path / "a.m4a"
    write_speech(path, rate_hz=rate_hz, num_channels=1, options=f"-c:a aac {options}")
    if "-ss" in options:  # an edit list that trims encoded frames
        path = path.rename(tmp_path / "long.m4a").with_name("a.m4a")
        cut = ["-ss", "0.33", "-i", tmp_path / "long.m4a", "-c", "copy", path]
        subprocess.run([ffmpeg, "-loglevel", "error", *cut], check=True)  # type: ignore[list-item]
    assert_like_ffmpeg(path, ffmpeg)


def assert_like_ffmpeg(path: Path, ffmpeg: str) -> None:
    """Compare before resampling; versions of FFmpeg differ by far less than a bit."""
    from w2v2_mt.audio.decoder import open_audio

    command = [ffmpeg, "-loglevel", "error", "-i", path, "-f", "f32le", "-"]
    raw = subprocess.run(command, check=True, capture_output=True).stdout
    with open_audio(path, name="a") as audio:
        waveform = np.concatenate([*audio.mono_blocks()])
    np.testing.assert_allclose(waveform, np.frombuffer(raw, np.float32), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", CASES)
def test_awkward_files_are_read_whole_and_alike(
    shared_folder: Path, tmp_path: Path, name: str
) -> None:
    script = shared_folder / "cases" / "make_audio_cases.py"
    if not script.is_file():
        pytest.skip(f"there is no {script}")
    subprocess.run([sys.executable, script], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "cases" / name
    samples = read_for_preparation(path)
    np.testing.assert_array_equal(round_to_16_bit(read_for_prediction(path)), samples)
    duration_sec = CASES[name] * CASE_SEC
    assert duration_sec <= len(samples) / 16_000 <= duration_sec + MAX_PADDING_SEC


SPEECH = (0.3 * 32_768 * np.sin(0.1 * np.arange(38_400))).astype(np.int16)
KINDS = {
    "wav": ("WAV", "PCM_16"),
    "flac": ("FLAC", "PCM_16"),
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "ogg": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "aiff": ("AIFF", "PCM_16"),
    "w64": ("W64", "PCM_16"),
    "rf64": ("RF64", "PCM_16"),
    "caf": ("CAF", "ALAC_16"),
    "voc": ("VOC", "PCM_16"),
}


def encoded(kind: str) -> bytes:
    stream = io.BytesIO()
    container, subtype = KINDS[kind]
    soundfile.write(stream, SPEECH, 16_000, format=container, subtype=subtype)
    return stream.getvalue()


def patched(content: bytes, offset: int, value: bytes) -> bytes:
    return content[:offset] + value + content[offset + len(value) :]


def read_both_ways(path: Path, content: bytes) -> float | str:
    """The duration of a file in recordings, or the refusal, which both must agree on."""
    path.write_bytes(content)
    outcomes: list[np.ndarray | str] = []
    for read in (read_for_prediction, lambda path: decode(path.read_bytes(), source=str(path))[0]):
        try:
            outcomes.append(read(path))
        except ValueError as error:
            outcomes.append(str(error))
    predicted, prepared = outcomes
    if isinstance(predicted, str) or isinstance(prepared, str):
        assert isinstance(predicted, str)
        assert predicted == prepared
        return predicted
    np.testing.assert_array_equal(round_to_16_bit(predicted), prepared)
    return len(prepared) / len(SPEECH)


def is_whole(duration: float | str, *, count: int = 1) -> bool:
    return isinstance(duration, float) and count - 0.01 <= duration <= count + 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_read_whole_or_refused_with_its_reason(tmp_path: Path, kind: str) -> None:
    content = encoded(kind)
    path = tmp_path / f"a.{kind}"
    assert is_whole(read_both_ways(path, content))
    joined = read_both_ways(path, content + content)
    is_refused = re.search("joined|after the samples", str(joined)) is not None
    assert is_whole(joined, count=2) or is_refused
    for num_missing in (1, 100, len(content) // 2):
        truncated = read_both_ways(path, content[:-num_missing])
        if (kind, num_missing) not in (("voc", 1), ("caf", 1)):  # it holds no samples
            assert "truncated" in str(truncated) or "corrupt" in str(truncated)
    for tail in (b"\n", bytes(1000), b"TAG" + bytes(range(125))):
        followed = read_both_ways(path, content + tail)
        reason = "truncated" if kind == "voc" else "after the samples"
        assert is_whole(followed) or reason in str(followed)


@pytest.mark.parametrize("kind", ["flac", "mp3", "ogg", "opus"])
def test_the_name_does_not_decide_how_a_file_is_read(tmp_path: Path, kind: str) -> None:
    for suffix in ("wav", "flac", "mp3", "ogg", "bin"):
        assert is_whole(read_both_ways(tmp_path / f"a.{suffix}", encoded(kind)))
        outcome = read_both_ways(tmp_path / f"a.{suffix}", bytes(1000) + encoded(kind))
        assert is_whole(outcome) or "cannot be decoded" in str(outcome)


WAV, FLAC, AIFF = encoded("wav"), encoded("flac"), encoded("aiff")
DATA = WAV.index(b"data")
INFO = FLAC.index(b"fLaC") + 8
NO_COUNT = patched(FLAC, INFO + 13, bytes([FLAC[INFO + 13] & 0xF0, 0, 0, 0, 0]))
ID3 = b"ID3\3\0\0\0\1\0\0" + bytes(16_384)


@pytest.mark.parametrize(
    ("content", "outcome"),
    [
        (patched(WAV, DATA + 4, bytes(4)), 1),
        (patched(WAV, DATA + 4, b"\xff" * 4), 1),
        (patched(patched(WAV, 4, b"\xff" * 4), DATA + 4, b"\xff" * 4), 1),
        (
            patched(WAV, DATA + 4, len(SPEECH).to_bytes(4, "little")),
            "38400 bytes after the samples",
        ),
        (patched(patched(WAV, 4, bytes(4))[:-999], 0, b"RIFF"), "is truncated"),
        (WAV + b"LIST\4\0\0\0abcd", 1),
        (WAV + WAV[DATA:], "several files joined"),
        (patched(AIFF, AIFF.index(b"SSND") + 4, b"\0\0\1\0"), "bytes after the samples"),
        (patched(WAV, 22, b"\xe8\3\xff\xff\xff\x7f"), "sample rate of 2147483647 Hz"),
        (patched(WAV, 22, b"\xe8\3"), "1000 channels; at most 64"),
        (NO_COUNT, 1),
        (NO_COUNT + b"TAG" + bytes(125), 1),
        (NO_COUNT[:-50], "is corrupt"),
        (NO_COUNT + NO_COUNT, "2 FLAC files joined"),
        (ID3 + FLAC, 1),
        (ID3 + ID3 + FLAC, 1),
        (patched(FLAC, INFO + 14, b"\0\0\1\0"), "its header counts only 256"),
        (patched(FLAC, INFO + 14, b"\x7f\0\0\0"), "is truncated"),
        (ID3 + ID3 + encoded("mp3"), 1),
        (bytes(1000) + encoded("mp3"), 1),
        (b"", "cannot be decoded as audio"),
    ],
)
def test_wrong_headers_are_seen_through_or_refused(
    tmp_path: Path, content: bytes, outcome: int | str
) -> None:
    found = read_both_ways(tmp_path / "a", content)
    if isinstance(outcome, str):
        assert outcome in str(found)
        for word in ("Error", "error", "libsnd", "sync", "RIFF", "pipe"):
            assert word not in str(found).replace(str(tmp_path), "")
    else:
        assert is_whole(found)


def test_a_wav_file_of_another_codec_is_read(tmp_path: Path, ffmpeg: str) -> None:
    (tmp_path / "b.wav").write_bytes(WAV)
    command = [ffmpeg, "-loglevel", "error", "-i", tmp_path / "b.wav", "-c:a", "mp3"]
    subprocess.run([*command, tmp_path / "c.wav"], check=True)  # type: ignore[list-item]
    outcome = read_both_ways(tmp_path / "a.wav", (tmp_path / "c.wav").read_bytes())
    assert is_whole(outcome)


def test_an_utterance_without_end_is_refused_with_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from w2v2_mt.prepare import audio

    monkeypatch.setattr(audio, "MAX_UTTERANCE_SEC", 2)
    with pytest.raises(ValueError, match="a.wav is longer than 2 s"):
        decode(WAV, source="a.wav")
