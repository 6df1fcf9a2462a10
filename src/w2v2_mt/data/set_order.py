"""The order in which the utterances of several sets of shards are read.

The place of a function in its sets is in dictionaries or lists that it receives and keeps up to
date, so that another call continues there.
"""

import tarfile
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import accumulate, islice
from pathlib import Path

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import Memory
from w2v2_mt.data.shards import shard_size

Reader = Callable[[Path, int], Iterator[EncodedSample]]
"""A function that reads a shard from the sample of a number on."""

_OVERHEAD_BYTES = 4 * tarfile.BLOCKSIZE
"""The bytes of an utterance in a shard besides its audio: two headers, its json and padding."""


def read_in_order(shards: Sequence[Path], read: Reader, place: Memory) -> Iterator[EncodedSample]:
    """Yield the samples of shards, from a place in them."""
    for index in range(place.setdefault("shard", 0), len(shards)):
        start = place.setdefault("sample", 0)
        for number, sample in enumerate(read(shards[index], start), start=start + 1):
            place["sample"] = number
            yield sample
        place.update(shard=index + 1, sample=0)


def read_at_one_pace(
    sets: Sequence[Sequence[Path]], read: Reader, places: Sequence[Memory]
) -> Iterator[EncodedSample]:
    """Yield the samples of several sets of shards, always of the set that has progressed least.

    One shard of each set is open at a time.

    Args:
        places: The place in each set, empty at its beginning.
    """
    if len(sets) == 1:
        yield from read_in_order(sets[0], read, places[0])
        return
    samples = [
        _read_with_progress(shards, read, place) for shards, place in zip(sets, places, strict=True)
    ]
    # Ties are resolved in the order of the sets.
    progress = [(place.setdefault("progress", 0.0), index) for index, place in enumerate(places)]
    heapify(progress)
    while progress:
        _, index = heappop(progress)
        for sample in islice(samples[index], 1):
            yield sample
            heappush(progress, (places[index]["progress"], index))


def read_by_shares(
    sets: Sequence[Iterator[EncodedSample]], shares: Sequence[float], counts: list[int]
) -> Iterator[EncodedSample]:
    """Yield samples of endless sets, always of the set whose share lags most.

    Args:
        counts: The number of samples that were taken of each set, which grows.
    """
    # After n samples of a set the next one is due at (n + 1/2) / share.
    due = [
        ((taken + 0.5) / share, number)
        for number, (taken, share) in enumerate(zip(counts, shares, strict=True))
    ]
    heapify(due)
    while True:
        _, number = due[0]
        counts[number] += 1
        heapreplace(due, ((counts[number] + 0.5) / shares[number], number))
        yield next(sets[number])


def _read_with_progress(
    shards: Sequence[Path], read: Reader, place: Memory
) -> Iterator[EncodedSample]:
    """Yield the samples of a set, after noting the share of the set's bytes up to each."""
    sizes = [shard_size(shard) for shard in shards]
    ends = list(accumulate(sizes))
    for sample in read_in_order(shards, read, place):
        end = ends[place["shard"]]
        # The first sample of a shard is counted from the beginning of the shard.
        position = max(place.get("bytes", 0), end - sizes[place["shard"]])
        place["bytes"] = min(position + len(sample.audio) + _OVERHEAD_BYTES, end)
        place["progress"] = place["bytes"] / ends[-1]
        yield sample
