"""Stages between a shard and a batch: each reads samples, changes one thing and passes them on.

A stage is called as `stage(samples, rng)` and draws whatever it draws from `rng`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from io import BytesIO
from random import Random
from typing import Any, Literal

import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.core.samples import EncodedSample, SpeakerSample, SpeechSample
from w2v2_mt.core.units import SAMPLE_RATE_HZ, samples_from_seconds
from w2v2_mt.data.batching import shuffled
from w2v2_mt.data.tokenizer import LetterTokenizer

Stage = Callable[[Iterable[Any], Random], Iterator[Any]]
SelectionStrategy = Literal["start", "end", "random", "random_contiguous", "contiguous"]


@dataclass(frozen=True, kw_only=True)
class DecodedSample:
    """An utterance, or a chunk of one, as a waveform with the facts beside it."""

    key: str
    waveform: Float[Tensor, " samples"]
    facts: dict[str, Any]
    shard: str

    def fact(self, name: str) -> Any:
        """The fact of that name; a missing one is a ValueError."""
        if name not in self.facts:
            raise ValueError(
                f"the json of utterance {self.key} in shard {self.shard} has no {name!r}, only "
                f"{sorted(self.facts)}: write the shard again"
            )
        return self.facts[name]


class ChunkSelector:
    """Chooses which chunks of a file are used, before anything is decoded.

    "start", "end" and "random" choose one chunk; "contiguous" chooses all full chunks back to back
    (what is left at the end is dropped), "random_contiguous" the same ones in a drawn order. A file
    that is not longer than a chunk is used whole.

    `match_speech_lengths` asks for chunks as long as the utterances of the speech task, which
    `with_drawn_lengths` then has to be told.
    """

    def __init__(
        self,
        *,
        desired_chunk_length_sec: PositiveFloat,
        selection_strategy: SelectionStrategy,
        match_speech_lengths: bool,
    ) -> None:
        self.num_chunk_samples = samples_from_seconds(desired_chunk_length_sec)
        self.selection_strategy = selection_strategy
        self.match_speech_lengths = match_speech_lengths
        self._lengths: Sequence[int] | None = None

    def with_drawn_lengths(self, lengths: Sequence[int]) -> "ChunkSelector":
        """The same selector, but for each file it draws a length from `lengths`, in samples."""
        selector = copy(self)
        selector._lengths = lengths
        return selector

    @property
    def chooses_several(self) -> bool:
        """Whether more than one chunk of a file may be used."""
        return self.selection_strategy in ("contiguous", "random_contiguous")

    def chunks(self, num_samples: int, rng: Random) -> list[range]:
        """The ranges of sample positions to decode of a file of `num_samples`."""
        length = self.num_chunk_samples if self._lengths is None else rng.choice(self._lengths)
        last_start = num_samples - length
        if last_start <= 0:
            return [range(num_samples)]
        match self.selection_strategy:
            case "start":
                starts = [0]
            case "end":
                starts = [last_start]
            case "random":
                starts = [rng.randint(0, last_start)]
            case "contiguous" | "random_contiguous":
                starts = list(range(0, last_start + 1, length))
        if self.selection_strategy == "random_contiguous":
            rng.shuffle(starts)
        return [range(start, start + length) for start in starts]


class SelectChunks:
    """EncodedSample -> EncodedSample with a chunk, one for each that the selector chooses of it.

    Where it chooses several of a file, they are shuffled among those of other files, so that a
    batch is not of one voice. At most `shuffle_buffer_size` chunks wait for that, not yet decoded;
    those of a file share its bytes.
    """

    def __init__(self, *, selector: ChunkSelector, shuffle_buffer_size: int) -> None:
        self.selector = selector
        self.shuffle_buffer_size = shuffle_buffer_size

    def __call__(self, samples: Iterable[EncodedSample], rng: Random) -> Iterator[EncodedSample]:
        chunks = (
            replace(sample, chunk=chunk)
            for sample in samples
            for chunk in self.selector.chunks(encoded_length(sample), rng)
        )
        if self.selector.chooses_several:
            return shuffled(chunks, buffer_size=self.shuffle_buffer_size, rng=rng)
        return chunks


class KeepBeginning:
    """EncodedSample -> EncodedSample of its first `duration_sec`; shorter ones are left out."""

    def __init__(self, *, duration_sec: float) -> None:
        self.num_samples = samples_from_seconds(duration_sec)

    def __call__(self, samples: Iterable[EncodedSample], rng: Random) -> Iterator[EncodedSample]:
        for sample in samples:
            if encoded_length(sample) > self.num_samples:
                yield replace(sample, chunk=range(self.num_samples))


class Decode:
    """EncodedSample -> DecodedSample: its chunk alone, or the whole of it.

    Audio that is not 16 kHz, mono, finite, readable and as long as its facts say is a ValueError
    that names the utterance and its shard.
    """

    def __call__(self, samples: Iterable[EncodedSample], rng: Random) -> Iterator[DecodedSample]:
        for sample in samples:
            with _opened(sample) as file:
                chunk = range(file.frames) if sample.chunk is None else sample.chunk
                waveform = _read_chunk(file, chunk, sample)
            yield DecodedSample(
                key=sample.key, waveform=waveform, facts=sample.facts, shard=sample.shard
            )


class NormaliseWaveform:
    """Scales each waveform to zero mean and unit variance: (x - mean) / sqrt(variance + eps).

    The scaling that wav2vec2 was pretrained with; HuggingFace's feature extractor has eps = 1e-7.
    """

    def __init__(self, *, eps: PositiveFloat) -> None:
        self.eps = eps

    def __call__(self, samples: Iterable[DecodedSample], rng: Random) -> Iterator[DecodedSample]:
        for sample in samples:
            yield replace(sample, waveform=self.normalised(sample.waveform))

    def normalised(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
        variance, mean = torch.var_mean(waveform, correction=0)
        return (waveform - mean) / torch.sqrt(variance + self.eps)


class AttachLetters:
    """DecodedSample -> SpeechSample, with its transcription as letters."""

    def __init__(self, *, tokenizer: LetterTokenizer) -> None:
        self.tokenizer = tokenizer

    def __call__(self, samples: Iterable[DecodedSample], rng: Random) -> Iterator[SpeechSample]:
        for sample in samples:
            transcription = sample.fact("transcription")
            try:
                letters = self.tokenizer.encode(transcription)
            except ValueError as error:
                raise ValueError(
                    f"utterance {sample.key} in shard {sample.shard}: {error}"
                ) from error
            yield SpeechSample(
                key=sample.key,
                waveform=sample.waveform,
                transcription=transcription,
                letters=letters,
            )


class AttachSpeaker:
    """DecodedSample -> SpeakerSample.

    With `is_training`, an utterance of a speaker who has no index is a ValueError.
    """

    def __init__(self, *, is_training: bool) -> None:
        self.is_training = is_training

    def __call__(self, samples: Iterable[DecodedSample], rng: Random) -> Iterator[SpeakerSample]:
        for sample in samples:
            speaker_index = sample.fact("speaker_id_idx")
            if speaker_index is None and self.is_training:
                raise ValueError(
                    f"the training utterance {sample.key} in shard {sample.shard} has no "
                    "speaker_id_idx: write the training shards again"
                )
            yield SpeakerSample(
                key=sample.key,
                waveform=sample.waveform,
                speaker_id=sample.fact("speaker_id"),
                speaker_index=speaker_index,
            )


def encoded_length(sample: EncodedSample) -> int:
    """The number of audio samples that are used.

    Where that is the whole file, it is what the facts say, which decoding holds against the file.
    """
    if sample.chunk is not None:
        return len(sample.chunk)
    stated = sample.facts.get("num_frames")
    if isinstance(stated, int):
        return stated
    with _opened(sample) as file:
        return file.frames


@contextmanager
def _opened(sample: EncodedSample) -> Iterator[soundfile.SoundFile]:
    try:
        with soundfile.SoundFile(BytesIO(sample.audio_file())) as file:
            _check_header(file, sample)
            yield file
    except soundfile.SoundFileError as error:
        raise _bad_audio(sample, f"cannot be decoded ({error})") from error


def _check_header(file: soundfile.SoundFile, sample: EncodedSample) -> None:
    if file.samplerate != SAMPLE_RATE_HZ:
        raise _bad_audio(sample, f"has a sample rate of {file.samplerate} Hz, not {SAMPLE_RATE_HZ}")
    if file.channels != 1:
        raise _bad_audio(sample, f"has {file.channels} channels, not 1")
    if file.frames == 0:
        raise _bad_audio(sample, "is empty")
    stated = sample.facts.get("num_frames", file.frames)
    if stated != file.frames:
        raise _bad_audio(sample, f"has {file.frames} samples, not {stated} as its json says")


def _read_chunk(
    file: soundfile.SoundFile, chunk: range, sample: EncodedSample
) -> Float[Tensor, " samples"]:
    file.seek(chunk.start)
    waveform = torch.from_numpy(file.read(len(chunk), dtype="float32"))
    if len(waveform) != len(chunk):
        raise _bad_audio(sample, f"ends before sample {chunk.stop}")
    if not torch.isfinite(waveform).all():
        raise _bad_audio(sample, "holds NaN or infinite values")
    return waveform


def _bad_audio(sample: EncodedSample, problem: str) -> ValueError:
    return ValueError(
        f"the audio of utterance {sample.key} in shard {sample.shard} {problem}: "
        "write the shard again"
    )
