import io

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import noise
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.prepare.audio import decode, encode


@pytest.mark.parametrize("format", ["FLAC", "WAV"])
def test_16_bit_samples_survive_exactly(format: str) -> None:
    samples = noise(0)
    samples[:2] = (-(1 << 15), (1 << 15) - 1)
    decoded, was_converted = decode(encoded_audio(samples, format=format), source="x")
    assert not was_converted
    for content in (encode(decoded, "wav"), encode(decoded, "flac")):
        stored, rate_hz = soundfile.read(io.BytesIO(content), dtype="int16")
        assert rate_hz == 16_000
        np.testing.assert_array_equal(stored, samples)


def test_a_wav_file_has_the_bytes_that_soundfile_writes() -> None:
    for num_samples in (1, 2, 1001):
        samples = noise(0, num_samples=num_samples)
        assert encode(samples, "wav") == encoded_audio(samples)


def test_float_samples_are_rounded_to_the_nearest_and_clipped() -> None:
    waveform = np.array([0.0, 0.5, -1.0, 1.0, 1.7, 2.4 / 32768])
    decoded, _ = decode(encoded_audio(waveform, subtype="DOUBLE"), source="x")
    assert decoded.tolist() == [0, 16384, -32768, 32767, 32767, 2]


@pytest.mark.parametrize(("sample_rate_hz", "num_channels"), [(8000, 1), (44_100, 2), (16_000, 2)])
def test_another_rate_and_more_channels_are_converted(
    sample_rate_hz: int, num_channels: int
) -> None:
    seconds = np.arange(sample_rate_hz) / sample_rate_hz
    tone = 0.5 * np.sin(2 * np.pi * 440 * seconds)
    # A second channel of silence halves the level when both are mixed.
    channels = np.stack([tone] + [0 * tone] * (num_channels - 1), axis=1)
    decoded, was_converted = decode(
        encoded_audio(channels, sample_rate_hz=sample_rate_hz), source="x"
    )
    assert was_converted
    assert len(decoded) == 16_000
    expected = 0.5 / num_channels * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    middle = slice(1000, -1000)  # at its ends the filter sees silence
    np.testing.assert_allclose(decoded[middle] / 32768, expected[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (encoded_audio(noise(0, num_samples=0)), "holds no audio"),
        (encoded_audio(np.array([0.0, np.nan]), subtype="FLOAT"), "holds NaN, infinite"),
        (encoded_audio(np.array([0.0, np.inf]), subtype="FLOAT"), "holds NaN, infinite"),
        (b"no audio at all", "cannot be decoded as audio"),
        (
            encoded_audio(noise(0, num_samples=50_000))[:-40_000],
            "has 60044 bytes, but its header promises 100044",
        ),
        (encoded_audio(noise(0, num_samples=50_000), format="FLAC")[:-40_000], ""),
    ],
    # Not the bytes, in which the time stands.
    ids=["empty", "NaN", "infinite", "text", "cut wav", "cut flac"],
)
def test_bad_audio_is_refused_by_name(content: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"^a\.zip: b\.wav .*{complaint}"):
        decode(content, source="a.zip: b.wav")
