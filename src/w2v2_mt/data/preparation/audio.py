"""The audio of one utterance: decoded, checked, and encoded for a shard."""

import io
import math
import wave
from dataclasses import dataclass
from typing import Literal

import numpy as np
import soundfile
from jaxtyping import Int16

from w2v2_mt.core.units import SAMPLE_RATE_HZ

AudioFormat = Literal["wav", "flac"]
FULL_SCALE = 1 << 15
RIFF = b"RIFF"
UNKNOWN_RIFF_SIZE = 0xFFFFFFFF
"""In the header of a file that was written into a pipe."""


@dataclass(frozen=True, kw_only=True)
class DecodedAudio:
    """16 kHz, mono, 16 bit; `was_converted` where the file was something else."""

    samples: Int16[np.ndarray, " samples"]
    was_converted: bool


def decode_checked(content: bytes, *, source: str) -> DecodedAudio:
    """The samples of an audio file, exact where it holds 16 bit samples at 16 kHz in one channel.

    `source` names the file in the ValueError that audio raises which cannot be decoded, is empty,
    shorter than its header says, or not finite.
    """
    _check_is_whole(content, source=source)
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            num_samples = file.frames
            is_exact = file.subtype == "PCM_16"
            samples = file.read(dtype="int16" if is_exact else "float64")
            sample_rate_hz = file.samplerate
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"{source} cannot be decoded ({error.error_string}); get the archive again."
        ) from error
    if len(samples) == 0:
        raise ValueError(f"{source} holds no audio; every file needs at least one sample.")
    if len(samples) != num_samples:
        raise ValueError(
            f"{source} holds {len(samples)} samples but promises {num_samples}; get the archive "
            "again."
        )
    if not np.isfinite(samples).all():
        raise ValueError(f"{source} holds samples that are not finite; every sample must be.")
    if sample_rate_hz == SAMPLE_RATE_HZ and samples.ndim == 1:
        exact = samples if is_exact else _rounded(samples)
        return DecodedAudio(samples=exact, was_converted=False)
    fractions = samples / FULL_SCALE if is_exact else samples
    converted = _rounded(_resampled(_mixed_down(fractions), sample_rate_hz))
    return DecodedAudio(samples=converted, was_converted=True)


def _check_is_whole(content: bytes, *, source: str) -> None:
    """Of a wav file, for libsndfile takes what is there for all that was promised."""
    if content[:4] != RIFF:
        return
    promised = int.from_bytes(content[4:8], "little")
    if promised != UNKNOWN_RIFF_SIZE and promised > len(content) - 8:
        raise ValueError(
            f"{source} has {len(content)} bytes but promises {promised + 8}; get the archive again."
        )


def encode(samples: Int16[np.ndarray, " samples"], audio_format: AudioFormat) -> bytes:
    """A mono 16 kHz file with 16 bit samples."""
    buffer = io.BytesIO()
    if audio_format == "wav":  # the same bytes as soundfile's, in half the time
        with wave.open(buffer, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(samples.itemsize)
            file.setframerate(SAMPLE_RATE_HZ)
            file.writeframes(samples.astype("<i2", copy=False).data)
    else:
        soundfile.write(buffer, samples, SAMPLE_RATE_HZ, format=audio_format, subtype="PCM_16")
    return buffer.getvalue()


def encode_wav(samples: Int16[np.ndarray, " samples"]) -> bytes:
    """A mono 16 kHz wav file with 16 bit samples."""
    return encode(samples, "wav")


def _mixed_down(samples: np.ndarray) -> np.ndarray:
    return samples if samples.ndim == 1 else samples.mean(axis=1)


def _resampled(samples: np.ndarray, sample_rate_hz: int) -> np.ndarray:
    from scipy.signal import resample_poly  # takes a second to import, and is rarely needed

    common = math.gcd(SAMPLE_RATE_HZ, sample_rate_hz)
    return resample_poly(samples, SAMPLE_RATE_HZ // common, sample_rate_hz // common)


def _rounded(samples: np.ndarray) -> Int16[np.ndarray, " samples"]:
    return np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
