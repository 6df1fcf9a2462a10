"""Loading: the settings of the dataloaders, and the dataloaders that streams are read through."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import (
    dynamic_batches,
    fixed_size_batches,
    ordered_batches,
)
from w2v2_mt.data.stages import encoded_length
from w2v2_mt.data.streams import EvaluationStream, TrainingStream

_NUM_SORTED_TOGETHER = 20_000
"""Utterances of evaluation, of which only places wait in memory: hardly any batch has padding."""


@dataclass(frozen=True, kw_only=True)
class SpeechLoading:
    """How utterances of LibriSpeech become batches.

    `train_max_num_samples`, and `eval_max_num_samples` in evaluation, is the number of utterances
    times the longest one; `max_queue_size` utterances are shuffled, and sorted by length, together.
    """

    train_max_num_samples: PositiveInt
    max_queue_size: PositiveInt
    eval_max_num_samples: PositiveInt
    val_batch_size: PositiveInt | None
    num_workers: NonNegativeInt
    pin_memory: bool
    max_eval_utterances: PositiveInt | None

    def training_batches(
        self, samples: Iterable[EncodedSample], rng: Random
    ) -> Iterator[list[EncodedSample]]:
        return dynamic_batches(
            samples,
            max_num_samples=self.train_max_num_samples,
            max_queue_size=self.max_queue_size,
            length=encoded_length,
            rng=rng,
        )

    def evaluation_batches(
        self, samples: Iterable[EncodedSample], rng: Random
    ) -> Iterator[list[EncodedSample]]:
        return _evaluation_batches(samples, self)


@dataclass(frozen=True, kw_only=True)
class SpeakerLoading:
    """How utterances of VoxCeleb become batches.

    `shuffle_queue_size` utterances are shuffled together, and as many chunks where several are cut
    from each; so many are sorted by length where they differ in it on purpose. In evaluation, the
    number of utterances times the longest one is at most `eval_max_num_samples`.
    """

    train_batch_size: PositiveInt
    shuffle_queue_size: PositiveInt
    eval_max_num_samples: PositiveInt
    val_batch_size: PositiveInt | None
    num_workers: NonNegativeInt
    pin_memory: bool
    max_eval_trials: PositiveInt | None

    def training_batches(
        self, samples: Iterable[EncodedSample], rng: Random
    ) -> Iterator[list[EncodedSample]]:
        return fixed_size_batches(samples, batch_size=self.train_batch_size)

    def training_batches_by_length(
        self, samples: Iterable[EncodedSample], rng: Random, *, max_num_samples: int
    ) -> Iterator[list[EncodedSample]]:
        """Cut as those of speech: the number of chunks times the longest one is bounded."""
        return dynamic_batches(
            samples,
            max_num_samples=max_num_samples,
            max_queue_size=self.shuffle_queue_size,
            length=encoded_length,
            rng=rng,
        )

    def evaluation_batches(
        self, samples: Iterable[EncodedSample], rng: Random
    ) -> Iterator[list[EncodedSample]]:
        return _evaluation_batches(samples, self)


def training_loader(
    stream: TrainingStream, loading: SpeechLoading | SpeakerLoading
) -> DataLoader[Any]:
    """The batches of an endless stream; too few shards for its readers are a ValueError now."""
    stream.check_num_readers(stream.world_size * max(1, loading.num_workers))
    return _loader(stream, loading)


def evaluation_loader(
    stream: EvaluationStream, loading: SpeechLoading | SpeakerLoading
) -> DataLoader[Any]:
    """The batches of a finite stream."""
    return _loader(stream, loading)


def rank_and_world_size(data: LightningDataModule) -> tuple[int, int]:
    """The number of this process and how many there are; 0 and 1 without a trainer."""
    if data.trainer is None:
        return 0, 1
    return data.trainer.global_rank, data.trainer.world_size


def training_position(data: LightningDataModule) -> dict[str, int]:
    """What a checkpoint keeps of a training stream: how many batches this process has taken."""
    assert data.trainer is not None
    return {"num_batches_done": data.trainer.fit_loop.total_batch_idx + 1}


def _loader(
    stream: TrainingStream | EvaluationStream, loading: SpeechLoading | SpeakerLoading
) -> DataLoader[Any]:
    return DataLoader(
        stream,
        batch_size=None,
        num_workers=loading.num_workers,
        pin_memory=loading.pin_memory and torch.cuda.is_available(),
        persistent_workers=loading.num_workers > 0,
        # A loader draws a number as it starts: not from the generator that the network draws from.
        generator=torch.Generator(),
    )


def _evaluation_batches(
    samples: Iterable[EncodedSample], loading: SpeechLoading | SpeakerLoading
) -> Iterator[list[EncodedSample]]:
    return ordered_batches(
        samples,
        max_num_samples=loading.eval_max_num_samples,
        max_batch_size=loading.val_batch_size,
        window_size=_NUM_SORTED_TOGETHER,
        length=encoded_length,
    )
