"""The order in which the utterances of several sets of shards are read."""

import tarfile
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from pathlib import Path

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.shards import shard_size

_OVERHEAD_BYTES = 4 * tarfile.BLOCKSIZE
"""The bytes of an utterance in a shard besides its audio: two headers, its json and padding."""


def read_at_one_pace(
    sets: Sequence[Sequence[Path]], read: Callable[[Path], Iterator[EncodedSample]]
) -> Iterator[EncodedSample]:
    """Yield the samples of several sets of shards, always of the set that has progressed least.

    One shard of each set is open at a time.
    """
    if len(sets) == 1:
        yield from (sample for shard in sets[0] for sample in read(shard))
        return
    samples = [_read_with_progress(shards, read) for shards in sets]
    # Ties are resolved in the order of the sets.
    progress = [(0.0, index) for index in range(len(sets))]
    while progress:
        _, index = heappop(progress)
        for sample, done in islice(samples[index], 1):
            yield sample
            heappush(progress, (done, index))


def read_by_shares(
    sets: Sequence[Iterator[EncodedSample]], shares: Sequence[float]
) -> Iterator[EncodedSample]:
    """Yield samples of endless sets, always of the set whose share lags most."""
    # After n samples of a set the next one is due at (n + 1/2) / share.
    due = [(0.5 / share, number) for number, share in enumerate(shares)]
    heapify(due)
    counts = [0] * len(sets)
    while True:
        _, number = due[0]
        counts[number] += 1
        heapreplace(due, ((counts[number] + 0.5) / shares[number], number))
        yield next(sets[number])


def _read_with_progress(
    shards: Sequence[Path], read: Callable[[Path], Iterator[EncodedSample]]
) -> Iterator[tuple[EncodedSample, float]]:
    """Yield the samples of a set, each with the share of the set's bytes up to it."""
    sizes = [shard_size(shard) for shard in shards]
    start = 0
    for shard, size in zip(shards, sizes, strict=True):
        position = start
        for sample in read(shard):
            position = min(position + len(sample.audio) + _OVERHEAD_BYTES, start + size)
            yield sample, position / sum(sizes)
        start += size
