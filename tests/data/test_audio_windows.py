import math

import numpy as np
import pytest
import soundfile
import torch
import torchaudio

from w2v2_mt.data.audio_files import read_header
from w2v2_mt.data.audio_windows import read_windows, resampled


def sine(rate_hz, duration_sec, frequency_hz=440.0):
    return 0.5 * np.sin(
        2 * np.pi * frequency_hz * np.arange(round(rate_hz * duration_sec)) / rate_hz
    )


@pytest.mark.parametrize("rate_hz", [8000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000])
@pytest.mark.parametrize("num_samples", [1, 100, 30_011, 200_000])
def test_a_stream_is_resampled_as_the_whole(rate_hz, num_samples):
    generator = torch.Generator().manual_seed(0)
    waveform = torch.randn(num_samples, generator=generator)
    expected = torchaudio.functional.resample(waveform, rate_hz, 16_000)
    for block in (rate_hz, 7919):
        streamed = torch.cat([*resampled(waveform.split(block), rate_hz=rate_hz)])
        assert streamed.shape == expected.shape
        torch.testing.assert_close(streamed, expected, atol=1e-5, rtol=0)


def test_a_rate_without_a_small_ratio_keeps_the_length_and_the_tone():
    tone = torch.from_numpy(sine(44_099, 2)).float()
    streamed = torch.cat([*resampled(tone.split(44_099), rate_hz=44_099)])
    assert abs(len(streamed) - 32_000) <= 1
    expected = torch.from_numpy(sine(16_000, 2)).float()
    # Two millionths of two seconds late at most, and the tone rises by 0.5 x 2 pi x 440 a second.
    largest = 2e-6 * 2 * 0.5 * 2 * math.pi * 440
    assert (streamed[100:-100] - expected[100 : len(streamed) - 100]).abs().max() < largest


@pytest.mark.parametrize(
    ("num_samples", "starts"),
    [(1, [0]), (1000, [0]), (1001, [0, 800]), (1800, [0, 800]), (1801, [0, 800, 1600])],
)
def test_windows_overlap_and_hold_every_sample(tmp_path, num_samples, starts):
    path = tmp_path / "a.wav"
    samples = np.arange(num_samples, dtype=np.float32) / 4096
    soundfile.write(path, samples, 16_000, subtype="FLOAT")
    windows = [*read_windows(read_header(path), window_samples=1000, hop_samples=800)]
    assert [window.start_sample for window in windows] == starts
    assert [window.is_last for window in windows] == [False] * (len(starts) - 1) + [True]
    for window in windows:
        end = min(window.start_sample + 1000, num_samples)
        expected = torch.from_numpy(samples[window.start_sample : end])
        assert torch.equal(window.waveform, expected)
