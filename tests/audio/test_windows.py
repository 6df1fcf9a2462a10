import numpy as np
import pytest
import soundfile
import torch

from w2v2_mt.audio.files import read_header, read_windows


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
