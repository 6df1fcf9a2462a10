import io

import numpy as np
import pytest
import soundfile

from tests.data.preparation.archive_files import noise
from tests.data.shard_files import encoded_audio
from w2v2_mt.data.preparation.audio import decode_checked, encode_wav


@pytest.mark.parametrize("format", ["FLAC", "WAV"])
def test_16_bit_samples_survive_exactly(format: str) -> None:
    samples = noise(0)
    samples[:2] = (-(1 << 15), (1 << 15) - 1)
    decoded = decode_checked(encoded_audio(samples, format=format), source="x")
    stored, rate_hz = soundfile.read(io.BytesIO(encode_wav(decoded)), dtype="int16")
    assert rate_hz == 16_000
    np.testing.assert_array_equal(stored, samples)


def test_float_samples_are_rounded_to_the_nearest_and_clipped() -> None:
    waveform = np.array([0.0, 0.5, -1.0, 1.0, 1.7, 2.4 / 32768])
    decoded = decode_checked(encoded_audio(waveform, subtype="DOUBLE"), source="x")
    assert decoded.tolist() == [0, 16384, -32768, 32767, 32767, 2]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (encoded_audio(noise(0), sample_rate_hz=8000), "sampled at 8000 Hz; only 16000 Hz"),
        (encoded_audio(np.stack([noise(0), noise(1)], axis=1)), "2 channels; only one"),
        (encoded_audio(noise(0, num_samples=0)), "holds no audio"),
        (encoded_audio(np.array([0.0, np.nan]), subtype="FLOAT"), "not finite"),
        (encoded_audio(np.array([0.0, np.inf]), subtype="FLOAT"), "not finite"),
        (b"no audio at all", "cannot be decoded"),
        (encoded_audio(noise(0, num_samples=50_000), format="FLAC")[:-40_000], ""),
    ],
)
def test_bad_audio_is_refused_by_name(content: bytes, complaint: str) -> None:
    with pytest.raises(ValueError, match=rf"^a\.zip: b\.wav .*{complaint}"):
        decode_checked(content, source="a.zip: b.wav")
