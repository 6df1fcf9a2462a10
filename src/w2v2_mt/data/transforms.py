"""Select the chunks of utterances, and make the samples of a task.

A stage is called as `stage(samples, rng, memory)`, takes an iterator of samples and returns another
one. `rng` is its only source of randomness, and what it holds back is in the dictionary `memory`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.core.registry import loadable
from w2v2_mt.core.samples import EncodedSample, SpeakerSample, SpeechSample
from w2v2_mt.core.units import samples_from_seconds
from w2v2_mt.data.batching import Memory, shuffle
from w2v2_mt.data.encoded_audio import decode, sample_length
from w2v2_mt.decoding.tokenizer import Tokenizer

Stage = Callable[[Iterable[Any], Random, Memory], Iterator[Any]]


@dataclass(frozen=True, kw_only=True)
class ChunkSelector:
    """A choice of the chunks of a file, made before anything is decoded.

    A file that is not longer than a chunk is used whole, but repeated up to a drawn length.

    Args:
        selection_strategy: "start", "end" and "random" select one chunk. "contiguous" selects all
            full chunks, back to back, and drops the remainder; "random_contiguous" selects the same
            chunks in random order.
        match_speech_lengths: Draw the length of each chunk from the lengths of speech utterances.
            A shorter file is repeated, since otherwise the shorter of two corpora would show.
    """

    desired_chunk_length_sec: PositiveFloat
    selection_strategy: Literal["start", "end", "random", "random_contiguous", "contiguous"]
    match_speech_lengths: bool

    def chunks(
        self, num_samples: int, rng: Random, lengths: Sequence[int] | None = None
    ) -> list[range]:
        """Return the ranges of sample positions to decode of a file of `num_samples`.

        Args:
            lengths: Draw the length of each chunk from these, in samples; a chunk then may end
                after the file, which is repeated. None: use `desired_chunk_length_sec`.
        """
        is_contiguous = self.selection_strategy in ("contiguous", "random_contiguous")
        if lengths and is_contiguous:
            # Dropping the last chunk, or shortening it to the file, would favor short chunks.
            chunks, start = [], 0
            while start < num_samples:
                chunks.append(range(start, start + rng.choice(lengths)))
                start = chunks[-1].stop
        else:
            length = samples_from_seconds(self.desired_chunk_length_sec)
            if lengths:
                length = rng.choice(lengths)
            last_start = num_samples - length
            if last_start <= 0:
                return [range(length if lengths else num_samples)]
            match self.selection_strategy:
                case "start":
                    starts = [0]
                case "end":
                    starts = [last_start]
                case "random":
                    starts = [rng.randint(0, last_start)]
                case _:
                    starts = list(range(0, last_start + 1, length))
            chunks = [range(start, start + length) for start in starts]
        if self.selection_strategy == "random_contiguous":
            rng.shuffle(chunks)
        return chunks


def select_chunks(
    samples: Iterable[EncodedSample],
    rng: Random,
    memory: Memory | None = None,
    *,
    selector: ChunkSelector,
    shuffle_buffer_size: int,
    lengths: Sequence[int] | None = None,
    is_whole: Callable[[EncodedSample], bool] | None = None,
) -> Iterator[EncodedSample]:
    """Yield each sample once for each chunk of it that the selector selects.

    If it selects several chunks of a file, they are shuffled among those of other files, so that a
    batch mixes speakers. The buffer holds at most `shuffle_buffer_size` chunks, not yet decoded;
    the chunks of a file share its bytes.

    Args:
        lengths: The argument of `ChunkSelector.chunks`.
        is_whole: Returns True for a sample that is passed on whole. None: for no sample.
    """

    def select(sample: EncodedSample) -> Sequence[range | None]:
        if is_whole is not None and is_whole(sample):
            return [None]
        return selector.chunks(sample_length(sample), rng, lengths)

    memory = {} if memory is None else memory
    waiting: list[EncodedSample] = memory.setdefault("waiting", [])

    def select_one_by_one() -> Iterator[EncodedSample]:
        while waiting:
            yield waiting.pop()
        for sample in samples:
            waiting.extend(replace(sample, chunk=chunk) for chunk in reversed(select(sample)))
            while waiting:
                yield waiting.pop()

    chunks = select_one_by_one()
    if selector.selection_strategy in ("contiguous", "random_contiguous"):
        shuffled = memory.setdefault("shuffle", {})
        return shuffle(chunks, rng, shuffled, buffer_size=shuffle_buffer_size)
    return chunks


def keep_beginnings(
    samples: Iterable[EncodedSample], rng: Random, memory: Memory, *, duration_sec: float
) -> Iterator[EncodedSample]:
    """Yield the first `duration_sec` of each sample that is longer."""
    chunk = range(samples_from_seconds(duration_sec))
    return (replace(each, chunk=chunk) for each in samples if sample_length(each) > len(chunk))


@loadable
@dataclass(frozen=True, kw_only=True)
class NormaliseWaveform:
    """Normalization of a waveform to zero mean and unit variance.

    (x - mean) / sqrt(variance + eps), as wav2vec2 was pretrained; HuggingFace's feature extractor
    uses eps = 1e-7.
    """

    eps: PositiveFloat

    def __call__(self, waveform: Float[Tensor, " samples"]) -> Float[Tensor, " samples"]:
        """Normalize one waveform."""
        # Two passes, an eighth of the time of torch.var_mean on a CPU and as exact.
        centred = waveform - waveform.mean()
        return centred.div_(torch.sqrt(centred.square().mean() + self.eps))


def make_speech_sample(
    sample: EncodedSample, *, normaliser: NormaliseWaveform, tokenizer: Tokenizer
) -> SpeechSample:
    """Decode a sample and encode its transcription."""
    waveform = normaliser(decode(sample))
    transcription = sample.entry("transcription")
    try:
        if not isinstance(transcription, str):
            raise ValueError(f"The transcription ({transcription!r:.40}) must be a text.")
        tokens = tokenizer.encode(transcription)
    except ValueError as error:
        raise ValueError(f"Utterance {sample.key} in shard {sample.shard}: {error}") from error
    return SpeechSample(
        key=sample.key,
        waveform=waveform,
        transcription=transcription,
        tokens=tokens,
        speaker_id=sample.speaker,
    )


def make_speaker_sample(
    sample: EncodedSample,
    *,
    normaliser: NormaliseWaveform,
    is_training: bool,
    indices: Mapping[str, int] | None = None,
    has_own_index: bool = True,
    num_speakers: int | None = None,
) -> SpeakerSample:
    """Decode a sample; in training, a speaker without an index is a ValueError.

    Args:
        indices: The index of each training speaker. None: the metadata of samples have it.
        has_own_index: Prefer the index in the metadata, if there is one.
        num_speakers: The number of training speakers, which is above each index. None: any.
    """
    waveform = normaliser(decode(sample))
    if indices is None or (has_own_index and "speaker_id_idx" in sample.metadata):
        speaker_index = sample.entry("speaker_id_idx")
        rule = "have a speaker_id_idx"
    else:
        speaker_index = indices.get(sample.speaker)
        rule = f"be of a speaker in the meta.json of its set, not of {sample.speaker}"
    if speaker_index is None and is_training:
        raise ValueError(
            f"The training utterance {sample.key} in shard {sample.shard} must {rule}. Write the "
            "training shards again."
        )
    if speaker_index is not None:
        is_index = type(speaker_index) is int and speaker_index >= 0
        if not is_index or (num_speakers is not None and speaker_index >= num_speakers):
            least = "" if num_speakers is None else f" from 0 to {num_speakers - 1}"
            raise ValueError(
                f"The speaker_id_idx of utterance {sample.key} in shard {sample.shard} must be an "
                f"integer{least}, not {speaker_index!r:.40}. Write the shards again."
            )
    return SpeakerSample(
        key=sample.key,
        waveform=waveform,
        speaker_id=sample.named_speaker or str(sample.entry("speaker_id")),
        speaker_index=speaker_index,
    )
