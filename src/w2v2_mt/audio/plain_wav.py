"""Plain wav files: 16 bit, mono and 16 kHz after a header of 44 bytes, as the preparation writes.

Their samples are read as they are, from any position on, without a decoder.
"""

import struct
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from w2v2_mt.core.units import SAMPLE_RATE_HZ

HEADER = range(44)
_BYTES_OF_SAMPLE = 2
_FULL_SCALE = np.float32(1 << 15)


@lru_cache(maxsize=4096)
def header_of(num_samples: int) -> bytes:
    """Return the header of a plain wav file.

    Source: IBM and Microsoft, Multimedia Programming Interface and Data Specifications 1.0.
    """
    num_bytes = _BYTES_OF_SAMPLE * num_samples
    return struct.pack(
        "<4sI8sIHHIIHH4sI",
        *(b"RIFF", num_bytes + len(HEADER) - 8),
        *(b"WAVEfmt ", 16, 1, 1, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ * _BYTES_OF_SAMPLE),
        *(_BYTES_OF_SAMPLE, 8 * _BYTES_OF_SAMPLE, b"data", num_bytes),
    )


def bytes_of(samples: range) -> range:
    """Return the positions in the file of the bytes of samples."""
    return range(*(len(HEADER) + _BYTES_OF_SAMPLE * each for each in (samples.start, samples.stop)))


def samples_of(content: bytes) -> Float[np.ndarray, " samples"]:
    """Return the samples in these bytes; full scale is 1."""
    return np.frombuffer(content, dtype="<i2") / _FULL_SCALE
