"""The audio of one utterance: decoded to 16 bit at 16 kHz, and encoded for a shard."""

import io
import wave

import numpy as np
import soundfile
from jaxtyping import Float, Int16

from w2v2_mt.audio.decoder import open_audio
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.prepare.options import AudioFormat

FULL_SCALE = 1 << 15
MAX_UTTERANCE_SEC = 1800


def decode(content: bytes, *, source: str) -> tuple[Int16[np.ndarray, " samples"], bool]:
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
    is_exact = (audio.sample_rate_hz, audio.num_channels) == (SAMPLE_RATE_HZ, 1)
    return round_to_16_bit(samples), not is_exact


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
