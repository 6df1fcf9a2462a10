"""Decode the audio of an utterance in a shard, or a chunk of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.audio import plain_wav
from w2v2_mt.audio.decoder import ForwardSoundFile
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.units import SAMPLE_RATE_HZ


def sample_length(sample: EncodedSample) -> int:
    """Return the number of audio samples of the chunk, or of the whole file.

    For a whole file this is the number in the metadata; decoding compares it with the file.
    """
    if sample.chunk is not None:
        return len(sample.chunk)
    stated = sample.metadata.get("num_frames")
    if isinstance(stated, int):
        return stated
    with _open(sample) as file:
        return file.frames


def decode(sample: EncodedSample) -> Float[Tensor, " samples"]:
    """Return the waveform of the chunk of a sample, or of the whole file.

    A chunk that ends after the file continues at the beginning of the file.

    Raises:
        ValueError: The audio is not 16 kHz, mono, finite, readable and as long as its metadata
            states.
    """
    if sample.decoded is not None:
        return sample.decoded
    waveform = _read_plain_wav(sample)
    if waveform is not None:
        return waveform
    with _open(sample) as file:
        part = _part_in_file(sample.chunk, file.frames)
        if part.start > 0:
            file.seek(part.start)
        waveform = torch.from_numpy(file.read(len(part), dtype="float32"))
    if len(waveform) != len(part):
        raise _bad_audio(sample, f"must not end before sample {part.stop}")
    if not file.subtype.startswith("PCM") and not torch.isfinite(waveform).all():
        raise _bad_audio(sample, "must not hold NaN or infinite values")
    return _repeat(waveform, sample.chunk, file.frames)


def _read_plain_wav(sample: EncodedSample) -> Float[Tensor, " samples"] | None:
    """Decode a plain wav file as long as its metadata state; return None for any other file."""
    num_samples = sample.metadata.get("num_frames")
    if type(num_samples) is not int or num_samples < 1:
        return None
    if len(sample.audio) != plain_wav.bytes_of(range(num_samples)).stop:
        return None
    part = _part_in_file(sample.chunk, num_samples)
    header, content = sample.read_audio(plain_wav.HEADER, plain_wav.bytes_of(part))
    if header != plain_wav.header_of(num_samples):
        return None
    return _repeat(torch.from_numpy(plain_wav.samples_of(content)), sample.chunk, num_samples)


def _part_in_file(chunk: range | None, num_samples: int) -> range:
    """Return the positions of a chunk, or of the whole file if the chunk ends after it."""
    return range(num_samples) if chunk is None or chunk.stop > num_samples else chunk


def _repeat(
    waveform: Float[Tensor, " _"], chunk: range | None, num_samples: int
) -> Float[Tensor, " samples"]:
    """Repeat a whole file up to the end of a chunk that ends after it."""
    if chunk is None or chunk.stop <= num_samples:
        return waveform
    return waveform[torch.arange(chunk.start, chunk.stop) % num_samples]


@contextmanager
def _open(sample: EncodedSample) -> Iterator[ForwardSoundFile]:
    try:
        with ForwardSoundFile(BytesIO(sample.audio_file())) as file:
            if file.samplerate != SAMPLE_RATE_HZ:
                raise _bad_audio(sample, f"must have {SAMPLE_RATE_HZ} Hz, not {file.samplerate}")
            if file.channels != 1:
                raise _bad_audio(sample, f"must have 1 channel, not {file.channels}")
            if file.frames == 0:
                raise _bad_audio(sample, "must not be empty")
            if (stated := sample.metadata.get("num_frames", file.frames)) != file.frames:
                problem = f"must have {stated} samples as in its json, not {file.frames}"
                raise _bad_audio(sample, problem)
            yield file
    except soundfile.SoundFileError as error:
        raise _bad_audio(sample, f"must be decodable ({error})") from error


def _bad_audio(sample: EncodedSample, problem: str) -> ValueError:
    return ValueError(
        f"The audio of utterance {sample.key} in shard {sample.shard} {problem}. "
        "Write the shard again."
    )
