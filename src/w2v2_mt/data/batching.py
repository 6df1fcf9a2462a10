"""Batches of samples: cut from an iterator by length or by count, in a drawn order or in order."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from random import Random
from typing import TypeVar

Sample = TypeVar("Sample")


def shuffled(samples: Iterable[Sample], *, buffer_size: int, rng: Random) -> Iterator[Sample]:
    """The same samples in another order, with at most `buffer_size` of them in memory."""
    buffer: list[Sample] = []
    for sample in samples:
        if len(buffer) < buffer_size:
            buffer.append(sample)
            continue
        position = rng.randrange(buffer_size)
        drawn, buffer[position] = buffer[position], sample
        yield drawn
    rng.shuffle(buffer)
    yield from buffer


def ordered_batches(
    samples: Iterable[Sample],
    *,
    max_num_samples: int,
    max_batch_size: int | None,
    window_size: int,
    length: Callable[[Sample], int],
) -> Iterator[list[Sample]]:
    """Batches of similar lengths, with nothing drawn: each window is sorted from long to short.

    `len(batch) * longest <= max_num_samples`; a sample that is longer alone is a batch of its own.
    """
    samples = iter(samples)
    while window := list(islice(samples, window_size)):
        window.sort(key=length, reverse=True)
        yield from _cut(
            window, max_num_samples=max_num_samples, max_batch_size=max_batch_size, length=length
        )


def fixed_size_batches(samples: Iterable[Sample], *, batch_size: int) -> Iterator[list[Sample]]:
    """Batches of `batch_size` samples in order; the last one holds what is left."""
    samples = iter(samples)
    while batch := list(islice(samples, batch_size)):
        yield batch


def dynamic_batches(
    samples: Iterable[Sample],
    *,
    max_num_samples: int,
    max_queue_size: int,
    length: Callable[[Sample], int],
    rng: Random,
) -> Iterator[list[Sample]]:
    """Batches of similar lengths with `len(batch) * longest <= max_num_samples`.

    A queue of up to `max_queue_size` samples is sorted by length and cut into batches, which come
    out in a drawn order. The last cut, which may have room left, goes back to the queue while
    samples are coming; at the end everything is handed out. A sample longer than
    `max_num_samples` is a ValueError.
    """
    samples = iter(samples)
    queue: list[Sample] = []
    longest_first = True
    while True:
        for sample in islice(samples, max_queue_size - len(queue)):
            _check_fits(sample, length(sample), max_num_samples)
            queue.append(sample)
        is_at_the_end = len(queue) < max_queue_size
        queue.sort(key=length, reverse=longest_first)
        batches = _cut(queue, max_num_samples=max_num_samples, max_batch_size=None, length=length)
        queue = [] if is_at_the_end or len(batches) == 1 else batches.pop()
        rng.shuffle(batches)
        yield from batches
        if is_at_the_end:
            return
        # What goes back is cut first in the next round; otherwise the shortest would never leave.
        longest_first = not longest_first


def _cut(
    samples: list[Sample],
    *,
    max_num_samples: int,
    max_batch_size: int | None,
    length: Callable[[Sample], int],
) -> list[list[Sample]]:
    """Sorted samples, ascending or descending, as batches of as many as fit."""
    batches: list[list[Sample]] = []
    batch: list[Sample] = []
    for sample in samples:
        longest = max(length(sample), length(batch[0])) if batch else 0
        has_place = max_batch_size is None or len(batch) < max_batch_size
        if batch and has_place and (len(batch) + 1) * longest <= max_num_samples:
            batch.append(sample)
        else:
            batch = [sample]
            batches.append(batch)
    return batches


def _check_fits(sample: object, num_samples: int, max_num_samples: int) -> None:
    if num_samples > max_num_samples:
        raise ValueError(
            f"utterance {getattr(sample, 'key', sample)} has {num_samples} samples, more than a "
            f"batch may hold ({max_num_samples}): raise speech.dataloader.train_max_num_samples"
        )
