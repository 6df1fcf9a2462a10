"""Windows of an audio file at 16 kHz.

A file is read, mixed and resampled in blocks of a second, so that its length costs no memory.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import torch
import torchaudio
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.data.audio_files import AudioFile, mono_blocks

_LARGEST_FACTOR = 640
"""Of a rational change of rate, exact for all usual rates; for others it is some millionths off."""

_FILTER_WIDTH = 6
_ROLLOFF = 0.99
"""Of the resampling filter; torchaudio's own values."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of a file at 16 kHz."""

    waveform: Float[Tensor, " samples"]
    start_sample: int
    is_last: bool


def read_windows(audio: AudioFile, *, window_samples: int, hop_samples: int) -> Iterator[Window]:
    """Windows of 16 kHz audio, one each `hop_samples`, the last one as long as what is left.

    A file that is not longer than a window is one window. Each holds something that the one before
    it did not.

    Raises ValueError where the file is damaged, cut, or holds values that are no sound.
    """
    assert 0 < hop_samples <= window_samples
    buffer = torch.empty(0)
    start_sample = 0
    for block in resampled(mono_blocks(audio), rate_hz=audio.sample_rate_hz):
        buffer = torch.cat([buffer, block])
        while len(buffer) > window_samples:
            # A copy, since a view would keep what is behind it.
            window = buffer[:window_samples].clone()
            yield Window(waveform=window, start_sample=start_sample, is_last=False)
            buffer = buffer[hop_samples:]
            start_sample += hop_samples
    yield Window(waveform=buffer, start_sample=start_sample, is_last=True)


def resampled(
    blocks: Iterable[Float[Tensor, " _"]], *, rate_hz: int
) -> Iterator[Float[Tensor, " _"]]:
    """16 kHz blocks of a stream at `rate_hz`: the samples that resampling it in one go gives.

    Each block is resampled with as much of its neighbours as the filter reaches.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
        return
    ratio = Fraction(rate_hz, SAMPLE_RATE_HZ).limit_denominator(_LARGEST_FACTOR)
    step, new_step = ratio.numerator, ratio.denominator
    reach = math.ceil(_FILTER_WIDTH * step / (min(step, new_step) * _ROLLOFF)) + step
    num_context = step * math.ceil(reach / step)
    # Starts with silence, as the audio does for the filter.
    pending, num_done = torch.empty(0), 0
    for block in blocks:
        pending = torch.cat([pending, block])
        # What stands at a multiple of the step, and is followed by all that the filter reads.
        num_ready = step * ((len(pending) - num_done - num_context) // step)
        if num_ready <= 0:
            continue
        yield _resample(pending, step, new_step)[
            num_done // step * new_step : (num_done + num_ready) // step * new_step
        ]
        num_kept = min(num_done + num_ready, num_context)
        pending = pending[num_done + num_ready - num_kept :]
        num_done = num_kept
    if len(pending) > num_done:
        yield _resample(pending, step, new_step)[num_done // step * new_step :]


def _resample(
    waveform: Float[Tensor, " samples"], step: int, new_step: int
) -> Float[Tensor, " samples_out"]:
    return torchaudio.functional.resample(
        waveform, step, new_step, lowpass_filter_width=_FILTER_WIDTH, rolloff=_ROLLOFF
    )
