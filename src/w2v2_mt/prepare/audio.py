"""The audio of one utterance: decoded to 16 bit at 16 kHz, and encoded for a shard."""

import io
import wave
from pathlib import Path

import numpy as np
import soundfile
from jaxtyping import Float, Int16

from w2v2_mt.audio.decoder import open_audio
from w2v2_mt.audio.stream import AudioStream
from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds, seconds_from_samples
from w2v2_mt.prepare.options import AudioFormat

FULL_SCALE = 1 << 15
MAX_UTTERANCE_SEC = 1800

SEEKABLE_FORMAT = "W64"
"""A wav file, without its limit of 4 GiB."""


END_TOLERANCE_SEC = 0.1
"""A segment may end this long after its file, since manifests hold rounded times."""

CONTEXT_SEC = 0.25
"""The audio before a segment that the filter of a resampler needs, and more."""


def decode(content: bytes | Path, *, source: str) -> tuple[Int16[np.ndarray, " samples"], bool]:
    """Decode an audio file; samples of 16 bit at 16 kHz in one channel stay as they are.

    Returns the samples, and True if the file had another sample rate or more channels. `source`
    names the file in messages. Raises ValueError for a file that is not audio, corrupt, truncated,
    empty or not finite.
    """
    blocks, num_samples = [], 0
    with open_audio(content, name=source) as audio:
        for block in audio.blocks_at_16_khz():
            blocks.append(block)
            num_samples += len(block)
            if num_samples > MAX_UTTERANCE_SEC * SAMPLE_RATE_HZ:
                raise ValueError(
                    f"{source} is longer than {MAX_UTTERANCE_SEC} s, the most that an utterance "
                    "may have. Split it."
                )
    samples = np.concatenate(blocks)
    if len(samples) == 0:
        raise ValueError(f"{source} holds no audio at 16 kHz; it must be longer.")
    return round_to_16_bit(samples), is_converted(audio)


def decode_segment(
    path: Path, *, start_sec: float, end_sec: float | None, source: str
) -> tuple[Int16[np.ndarray, " samples"], bool]:
    """Decode a segment: the samples from the start to before the end of the file at 16 kHz.

    Returns what `decode` returns. Raises ValueError as `decode`, and for a segment that is too long
    or is not in the file.

    Args:
        path: The file, of any length.
        start_sec: The start, rounded to the nearest sample at 16 kHz.
        end_sec: The end, likewise; None is the end of the file. It may be a little after it.
        source: The name of the segment in messages.
    """
    start = samples_from_seconds(start_sec)
    end = None if end_sec is None else samples_from_seconds(end_sec)
    blocks = []
    with open_audio(path, name=source, start_sec=max(0.0, start_sec - CONTEXT_SEC)) as audio:
        position = audio.first_sample * SAMPLE_RATE_HZ // audio.sample_rate_hz
        for block in audio.blocks_at_16_khz():
            blocks.append(block[max(0, start - position) : end and max(0, end - position)])
            position += len(block)
            if end is not None and position >= end:
                break
            if position - start > MAX_UTTERANCE_SEC * SAMPLE_RATE_HZ:
                raise ValueError(
                    f"the segment is longer than {MAX_UTTERANCE_SEC} s, the most that an "
                    "utterance may have. Split it."
                )
    tolerance = samples_from_seconds(END_TOLERANCE_SEC)
    if start >= position or (end is not None and position < end - tolerance):
        to_end = "to its end" if end_sec is None else f"to {end_sec:g} s"
        raise ValueError(
            f"the segment is from {start_sec:g} s {to_end}, but the file ends at "
            f"{seconds_from_samples(position):.2f} s. Correct the times."
        )
    return round_to_16_bit(np.concatenate(blocks)), is_converted(audio)


def decode_to_file(path: Path, target: Path, *, source: str) -> bool:
    """Decode a file of any length to one at 16 kHz in which `decode_segment` can seek.

    Returns True if the original has another sample rate or more channels. Raises ValueError as
    `decode`.
    """
    with open_audio(path, name=source) as audio:
        with soundfile.SoundFile(
            target, "w", SAMPLE_RATE_HZ, channels=1, subtype="PCM_16", format=SEEKABLE_FORMAT
        ) as file:
            for block in audio.blocks_at_16_khz():
                file.write(round_to_16_bit(block))
        return is_converted(audio)


def can_seek(path: Path, *, source: str) -> bool:
    """Return True for a file in which `decode_segment` reads little more than the segment."""
    with open_audio(path, name=source) as audio:
        return audio.can_seek


def is_converted(audio: AudioStream) -> bool:
    """Return True for a file that is not 16 kHz mono."""
    return (audio.sample_rate_hz, audio.num_channels) != (SAMPLE_RATE_HZ, 1)


def round_to_16_bit(waveform: Float[np.ndarray, " samples"]) -> Int16[np.ndarray, " samples"]:
    """Round a waveform whose full scale is 1, and clip what is louder."""
    scaled = waveform * FULL_SCALE
    np.rint(scaled, out=scaled)
    return np.clip(scaled, -FULL_SCALE, FULL_SCALE - 1, out=scaled).astype(np.int16)


def encode(samples: Int16[np.ndarray, " samples"], audio_format: AudioFormat) -> bytes:
    """Encode a mono file of 16 bit at 16 kHz."""
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
