"""Audio files of any rate, channel count and format that libsndfile reads, as 16 kHz mono.

A file is read, mixed and resampled in blocks of a second, so that its length costs no memory.
"""

import math
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
import torch
import torchaudio
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.units import SAMPLE_RATE_HZ

_LARGEST_FACTOR = 640
"""Of a rational change of rate, exact for all usual rates; for others it is some millionths off."""

_BYTES_OF_A_FRAME = 2881
"""At most, of an mp3."""
_LOWEST_RATE_HZ = 1000
"""Below it there is no speech, and the ratio of the rates may round to zero."""

_FILTER_WIDTH = 6
_ROLLOFF = 0.99
"""Of the resampling filter; torchaudio's own values."""

_NO_SUFFIXES_OF_AUDIO = {"raw", "mat4", "mat5"}
"""Formats of libsndfile that cannot be read without being told how, or are hardly ever audio."""

_MORE_SUFFIXES = {"aif", "opus", "oga", "sph"}
"""Those of files in the formats AIFF, OGG and NIST."""


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """What is known of a readable audio file before its samples are read.

    Args:
        num_source_samples: of each channel.
        first_frame_byte: where the frames begin of an mp3 that does not say how long it is; None
            for all other files.
    """

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_source_samples: int
    first_frame_byte: int | None

    @property
    def duration_sec(self) -> float:
        return self.num_source_samples / self.sample_rate_hz


@dataclass(frozen=True, kw_only=True)
class Window:
    """A stretch of a file at 16 kHz."""

    waveform: Float[Tensor, " samples"]
    start_sample: int
    is_last: bool


def find_audio_files(paths: Sequence[Path]) -> list[Path]:
    """The named files, and those in named folders, at any depth, whose suffix is one of audio.

    Raises ValueError where a path does not exist or a folder has no such file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"there is no {path}; name audio files or folders of them.")
        if not path.is_dir():
            found.append(path)
            continue
        suffixes = audio_suffixes()
        inside = sorted(
            file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file()
        )
        if not inside:
            raise ValueError(
                f"the folder {path} has no audio file (their suffixes are "
                f"{', '.join(sorted(suffixes))}); name another one, or name its files."
            )
        found += inside
    return list(dict.fromkeys(found))


def audio_suffixes() -> set[str]:
    """How the names of the files end that libsndfile can read here."""
    formats = {name.lower() for name in soundfile.available_formats()} - _NO_SUFFIXES_OF_AUDIO
    return {f".{name}" for name in formats | _MORE_SUFFIXES}


def read_header(path: Path) -> AudioFile:
    """An mp3 that does not say how long it is, is decoded to count its samples.

    Raises ValueError where it is no audio file or an empty one.
    """
    try:
        info = soundfile.info(path)
        first_frame_byte = _first_frame_byte(path) if info.format == "MP3" else None
        num_source_samples = info.frames
        if first_frame_byte is not None:
            with _opened(path, first_frame_byte) as file:
                num_source_samples = sum(map(len, _blocks(file)))
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as audio ({_reason(error)}).") from error
    if num_source_samples == 0:
        raise ValueError(f"{path} is empty: it has no samples.")
    if info.samplerate < _LOWEST_RATE_HZ:
        raise ValueError(
            f"{path} has a sample rate of {info.samplerate} Hz; give a file of {_LOWEST_RATE_HZ} "
            "Hz or more."
        )
    return AudioFile(
        path=path,
        sample_rate_hz=info.samplerate,
        num_channels=info.channels,
        num_source_samples=num_source_samples,
        first_frame_byte=first_frame_byte,
    )


def _first_frame_byte(path: Path) -> int | None:
    """Where the frames of an mp3 begin; None if the first one counts the others.

    It stands behind an ID3v2 tag, whose size is in four bytes of seven bits. Source: the headers
    Xing, Info (LAME) and VBRI (Fraunhofer).
    """
    position = 0
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":
            high, *rest = tag[6:10]
            size = high
            for seven_bits in rest:
                size = size << 7 | seven_bits
            position = 10 + size
        file.seek(position)
        first_frame = file.read(_BYTES_OF_A_FRAME)
    has_count = any(name in first_frame for name in (b"Xing", b"Info", b"VBRI"))
    return None if has_count else position


class _Stream(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    soundfile seeks in what it can to where each read ends, and the frames of an mp3 behind such a
    place then lack what earlier frames held for them.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(path: Path, first_frame_byte: int | None) -> Iterator[_Stream]:
    """The file, or a pipe with its frames where libsndfile does not know how many they are.

    Of such a file it guesses a length and reads no further; a pipe it reads to the end.
    """
    if first_frame_byte is None:
        with _Stream(path) as file:
            yield file
        return
    with path.open("rb", buffering=0) as frames:
        frames.seek(first_frame_byte)
        with subprocess.Popen(["cat"], stdin=frames, stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            with _Stream(cat.stdout.fileno(), closefd=False) as file:
                yield file


def _blocks(file: _Stream) -> Iterator[np.ndarray]:
    """A second at a time: samples by channels."""
    while len(block := file.read(file.samplerate, dtype="float32", always_2d=True)):
        yield block


def read_windows(audio: AudioFile, *, window_samples: int, hop_samples: int) -> Iterator[Window]:
    """Windows of 16 kHz audio, one each `hop_samples`, the last one as long as what is left.

    A file that is not longer than a window is one window. Each holds something that the one before
    it did not.

    Raises ValueError where the file is damaged, cut, or holds NaN or infinite values.
    """
    assert 0 < hop_samples <= window_samples
    buffer = torch.empty(0)
    start_sample = 0
    for block in resampled(_mono_blocks(audio), rate_hz=audio.sample_rate_hz):
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


def _mono_blocks(audio: AudioFile) -> Iterator[Float[Tensor, " _"]]:
    """A second of the mean over the channels at a time."""
    num_read = 0
    try:
        with _opened(audio.path, audio.first_frame_byte) as file:
            for block in _blocks(file):
                num_read += len(block)
                mono = torch.from_numpy(block).mean(dim=1)
                if not torch.isfinite(mono).all():
                    raise ValueError(f"{audio.path} holds NaN or infinite values.")
                yield mono
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(
            f"{audio.path} is damaged after {num_read / audio.sample_rate_hz:.1f} s "
            f"({_reason(error)})."
        ) from error
    if num_read < audio.num_source_samples:
        raise ValueError(
            f"{audio.path} ends after {num_read / audio.sample_rate_hz:.1f} s, not after "
            f"{audio.duration_sec:.1f} s as its header says."
        )


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).rstrip(".")
