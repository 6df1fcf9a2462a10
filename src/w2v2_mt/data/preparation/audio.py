"""The audio of one utterance: decoded, checked, and encoded as a 16 bit wav file."""

import io

import numpy as np
import soundfile
from jaxtyping import Int16

from w2v2_mt.core.units import SAMPLE_RATE_HZ

FULL_SCALE = 1 << 15


def decode_checked(content: bytes, *, source: str) -> Int16[np.ndarray, " samples"]:
    """The samples of an audio file, exact where it holds 16 bit samples.

    `source` names the archive and the file in the ValueError that audio raises which cannot be
    decoded, is not 16 kHz, not mono, empty, shorter than its header says, or not finite.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            if file.samplerate != SAMPLE_RATE_HZ:
                raise ValueError(
                    f"{source} is sampled at {file.samplerate} Hz; only {SAMPLE_RATE_HZ} Hz is "
                    "allowed, so resample it."
                )
            if file.channels != 1:
                raise ValueError(
                    f"{source} has {file.channels} channels; only one is allowed, so mix it down."
                )
            num_samples = file.frames
            has_exact_samples = file.subtype == "PCM_16"
            samples = file.read(dtype="int16" if has_exact_samples else "float64")
    except soundfile.LibsndfileError as error:
        raise ValueError(f"{source} cannot be decoded ({error}); get the archive again.") from error
    if len(samples) == 0:
        raise ValueError(f"{source} holds no audio; every file needs at least one sample.")
    if len(samples) != num_samples:
        raise ValueError(
            f"{source} holds {len(samples)} samples but promises {num_samples}; get the archive "
            "again."
        )
    return samples if has_exact_samples else _rounded(samples, source=source)


def encode_wav(samples: Int16[np.ndarray, " samples"]) -> bytes:
    """A mono 16 kHz wav file with 16 bit samples."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, SAMPLE_RATE_HZ, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _rounded(samples: np.ndarray, *, source: str) -> Int16[np.ndarray, " samples"]:
    if not np.isfinite(samples).all():
        raise ValueError(f"{source} holds samples that are not finite; every sample must be.")
    return np.clip(np.round(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
