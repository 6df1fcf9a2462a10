"""Cut an iterator of samples into batches, by length or by count, shuffled or in order.

What a function holds back between two batches is in its `memory`: called with the memory of another
call, it continues there.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from random import Random
from typing import Any, TypeVar

Memory = dict[str, Any]
"""The lists, numbers, random generators and samples that a stage holds back, by name."""

Sample = TypeVar("Sample")


def shuffle(
    samples: Iterable[Sample], rng: Random, memory: Memory | None = None, *, buffer_size: int
) -> Iterator[Sample]:
    """Shuffle samples with a buffer of at most `buffer_size` of them."""
    memory = {} if memory is None else memory
    buffer: list[Sample] = memory.setdefault("buffer", [])
    if not memory.get("is_emptying"):
        for sample in samples:
            if len(buffer) < buffer_size:
                buffer.append(sample)
                continue
            position = rng.randrange(buffer_size)
            drawn, buffer[position] = buffer[position], sample
            yield drawn
        rng.shuffle(buffer)
        buffer.reverse()
        memory["is_emptying"] = True
    while buffer:
        yield buffer.pop()


def similar_length_batches(
    samples: Iterable[Sample],
    rng: Random,
    memory: Memory | None = None,
    *,
    max_num_samples: int,
    max_batch_size: int | None,
    window_size: int,
    length: Callable[[Sample], int],
) -> Iterator[list[Sample]]:
    """Cut samples into batches of similar lengths, without randomness, for evaluation.

    Args:
        max_num_samples: The largest product of the size of a batch and its longest sample. A sample
            that exceeds it alone is a batch of its own.
        max_batch_size: The largest size of a batch. None: no limit.
        window_size: The number of samples that are sorted together, from long to short.
    """
    samples = iter(samples)
    while window := list(islice(samples, window_size)):
        window.sort(key=length, reverse=True)
        yield from _cut(window, max_num_samples, max_batch_size or window_size, length)


def equal_size_batches(
    samples: Iterable[Sample], rng: Random, memory: Memory | None = None, *, batch_size: int
) -> Iterator[list[Sample]]:
    """Cut samples into batches of `batch_size` in order; the last batch holds the remainder."""
    samples = iter(samples)
    while batch := list(islice(samples, batch_size)):
        yield batch


def dynamic_batches(
    samples: Iterable[Sample],
    rng: Random,
    memory: Memory | None = None,
    *,
    max_num_samples: int,
    max_queue_size: int,
    length: Callable[[Sample], int],
) -> Iterator[list[Sample]]:
    """Cut samples into batches of similar lengths, in random order.

    A queue is filled, sorted by length and cut into batches, which are shuffled. While more samples
    follow, the last batch of a queue, which may have room left, returns to the next queue.

    Args:
        max_num_samples: The largest product of the size of a batch and its longest sample.
        max_queue_size: The number of samples in the queue.

    Raises:
        ValueError: A sample is longer than `max_num_samples`.
    """
    samples = iter(samples)
    memory = {} if memory is None else memory
    batches: list[list[Sample]] = memory.setdefault("batches", [])
    memory.setdefault("queue", [])
    memory.setdefault("longest_first", True)
    while True:
        while batches:
            yield batches.pop()
        if memory.get("is_at_the_end"):
            return
        queue: list[Sample] = memory["queue"]
        for sample in islice(samples, max_queue_size - len(queue)):
            if length(sample) > max_num_samples:
                raise ValueError(
                    f"Utterance {getattr(sample, 'key', sample)} ({length(sample)} samples) must "
                    f"fit into a batch ({max_num_samples}). Raise "
                    "speech.dataloader.train_max_num_samples."
                )
            queue.append(sample)
        memory["is_at_the_end"] = is_at_the_end = len(queue) < max_queue_size
        queue.sort(key=length, reverse=memory["longest_first"])
        cut = _cut(queue, max_num_samples, max_queue_size, length)
        memory["queue"] = [] if is_at_the_end or len(cut) == 1 else cut.pop()
        rng.shuffle(cut)
        batches.extend(reversed(cut))
        # The returned batch is the first of the next queue. Otherwise the shortest samples would
        # always stay in the queue.
        memory["longest_first"] = not memory["longest_first"]


def _cut(
    samples: list[Sample],
    max_num_samples: int,
    max_batch_size: int,
    length: Callable[[Sample], int],
) -> list[list[Sample]]:
    """Cut samples, sorted in either direction, into batches of as many as fit."""
    batches: list[list[Sample]] = []
    for sample in samples:
        batch = batches[-1] if batches else []
        longest = max(length(sample), length(batch[0])) if batch else 0
        fits = (len(batch) + 1) * longest <= max_num_samples and len(batch) < max_batch_size
        if batch and fits:
            batch.append(sample)
        else:
            batches.append([sample])
    return batches
