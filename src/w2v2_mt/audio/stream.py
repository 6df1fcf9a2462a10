"""A stream of decoded audio: mixed down to one channel, checked, and resampled block by block."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from w2v2_mt.core.units import SAMPLE_RATE_HZ

MAX_MAGNITUDE = 1e12
"""Full scale is 1, in some files of floats 2**31; squares of much more exceed float32."""

Samples = Float[np.ndarray, "samples channels"]
Mono = Float[np.ndarray, " _"]


class DecodingError(Exception):
    """A part of a file that its decoder refuses."""


@dataclass(frozen=True, kw_only=True)
class AudioStream:
    """An open audio file, whose samples can be read once.

    Args:
        name: The file's name in messages.
        num_samples: Samples per channel, where the header holds their exact number.
        min_num_samples: Samples per channel that the header promises; the file is truncated if
            fewer can be decoded.
        blocks: The samples at the rate of the file; full scale is 1.
        first_sample: The position in the file of the first sample of `blocks`.
        can_seek: A later start is reached without decoding what is before it.
    """

    name: str
    sample_rate_hz: int
    num_channels: int
    num_samples: int | None
    min_num_samples: int
    blocks: Iterator[Samples]
    first_sample: int = 0
    can_seek: bool = False

    def mono_blocks(self) -> Iterator[Mono]:
        """Yield the mean of the channels, at the rate of the file.

        Raises:
            ValueError: The file is corrupt, truncated or empty, or holds values that are not sound.
        """
        num_samples = self.first_sample
        try:
            for block in self.blocks:
                num_samples += len(block)
                mono = block[:, 0] if self.num_channels == 1 else block.mean(axis=1)
                if not (mono.min() > -MAX_MAGNITUDE and mono.max() < MAX_MAGNITUDE):  # or NaN
                    raise ValueError(f"{self.name} holds NaN, infinite or impossibly large values.")
                yield mono
        except (DecodingError, OSError) as error:
            raise ValueError(
                f"{self.name} is corrupt after {num_samples / self.sample_rate_hz:.1f} s "
                f"({reason_of(error)}). Get the file again."
            ) from error
        if num_samples == 0:
            raise ValueError(f"{self.name} holds no audio; it must have at least one sample.")
        if num_samples < self.min_num_samples:
            raise ValueError(
                f"{self.name} is truncated: it ends after {num_samples / self.sample_rate_hz:.1f} "
                f"s of at least {self.min_num_samples / self.sample_rate_hz:.1f} s. Get the file "
                "again."
            )

    def blocks_at_16_khz(self) -> Iterator[Mono]:
        """Yield the mean of the channels at 16 kHz; raise ValueError as `mono_blocks`."""
        return resample_blocks(self.mono_blocks(), rate_hz=self.sample_rate_hz)


def resample_blocks(blocks: Iterable[Mono], *, rate_hz: int) -> Iterator[Mono]:
    """Yield a stream at 16 kHz; the samples do not depend on the size of the blocks."""
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
        return
    import soxr  # 16 kHz audio does not need it

    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, num_channels=1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(np.ascontiguousarray(block))
    yield stream.resample_chunk(np.empty(0, dtype=np.float32), last=True)


def reason_of(error: Exception) -> str:
    """Return why a file is not read, in words of this project or of the operating system."""
    if type(error) is ValueError:
        return str(error).rstrip(".")
    if isinstance(error, OSError) and type(error).__module__ == "builtins" and error.strerror:
        return error.strerror
    return "its content is not of a known format, or a part of it is corrupt"
