import numpy as np
import pytest
import soxr

from w2v2_mt.audio.stream import resample_blocks


def split(waveform, size):
    return [waveform[start : start + size] for start in range(0, len(waveform), size)]


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 44_099])
@pytest.mark.parametrize("num_samples", [1, 100, 30_011, 200_000])
def test_blocks_become_the_same_samples_as_the_whole(rate_hz, num_samples):
    waveform = np.random.default_rng(0).standard_normal(num_samples).astype(np.float32)
    expected = soxr.resample(waveform, rate_hz, 16_000)
    for size in (rate_hz, 7919):
        streamed = np.concatenate([*resample_blocks(split(waveform, size), rate_hz=rate_hz)])
        np.testing.assert_array_equal(streamed, expected)


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 44_099, 48_000])
def test_a_tone_keeps_its_pitch_level_and_time(rate_hz):
    def tone(rate_hz):
        return 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz)

    blocks = split(tone(rate_hz).astype(np.float32), rate_hz)
    streamed = np.concatenate([*resample_blocks(blocks, rate_hz=rate_hz)])
    assert abs(len(streamed) - 32_000) <= 1
    expected = tone(16_000)
    np.testing.assert_allclose(streamed[500:-500], expected[500 : len(streamed) - 500], atol=1e-4)


def test_16_khz_passes_unchanged():
    block = np.arange(5, dtype=np.float32)
    assert next(resample_blocks([block], rate_hz=16_000)) is block
