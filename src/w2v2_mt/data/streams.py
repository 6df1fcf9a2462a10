"""The stream of training batches: an endless order of utterances, which continues anywhere.

All DataLoader workers of all processes divide the data among themselves without communication,
from the seed and their number alone.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from w2v2_mt.core import units
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batch_stream import BatchStream, find_worker
from w2v2_mt.data.batching import Memory, shuffle
from w2v2_mt.data.drawn_batches import DrawnBatches
from w2v2_mt.data.positions import BatchOrder, RunPosition, StreamPosition
from w2v2_mt.data.set_order import Reader, read_at_one_pace, read_by_shares, read_in_order
from w2v2_mt.data.shards import read_shard

_NUM_WITHOUT_LABEL = 1_000
"""A worker that finds no label in this many training utterances would find none later."""


def read_from(shard: Path, start: int) -> Iterator[EncodedSample]:
    """Yield the samples of a shard with their audio, from the sample of a number on."""
    return read_shard(shard, start=start)


@dataclass(kw_only=True, eq=False)
class TrainingStream(BatchStream):
    """An endless stream of training batches; each epoch holds each utterance once.

    The batches come from several streams in turn, as a `BatchOrder` describes: one for each
    DataLoader worker with which the run began. In each epoch the shards of each set, those of one
    folder, are permuted and dealt out to the streams. A stream reads one shard of each set at a
    time, all sets at the same pace relative to their size, so that every part of an epoch holds the
    sets in the same proportion. The utterances pass a shuffle buffer and the stages of `choosing`.
    Lists of them cross the borders of epochs, so that no utterance is dropped.

    With `weights`, the data is not divided into epochs: each set is read repeatedly, permuted in
    each pass, and the next utterance comes from the set that lags most in its share of the weights.

    A resumed stream restores what its stages held back, and draws the few batches that follow this
    position again, without reading or decoding their audio. Without a position it draws all again.

    Args:
        shuffle_buffer_size: The number of utterances in the shuffle buffer of a stream.
        num_batches_done: The number of batches that this process consumed before.
        mixes_sets: False reads the shards of all sets in one random order, as version 0.1.0 did,
            so that batches are long runs of one set.
        weights: The weight of each set, by its folder: its share in the utterances that a stream
            reads, relative to those of the other sets. None: one epoch after the other.
        position: The position of the run after these batches. None: unknown.
        reports_positions: True yields pairs of a batch and, with some batches, the position of its
            stream after it.
    """

    shuffle_buffer_size: int
    seed: int
    num_batches_done: int
    mixes_sets: bool = True
    weights: Mapping[Path, float] | None = None
    position: RunPosition | None = None
    reports_positions: bool = False
    _num_without_label: int = field(default=0, init=False)
    _has_found_label: bool = field(default=False, init=False)

    def start(self, num_workers: int) -> RunPosition:
        """Return the position at which the stream begins with this many workers per process."""
        if self.position is not None:
            return self.position
        return RunPosition(
            order=BatchOrder(num_processes=self.world_size, num_streams=num_workers),
            num_batches=self.num_batches_done * self.world_size,
            streams={},
        )

    def __iter__(self) -> Iterator[Any]:
        worker, num_workers = find_worker()
        start = self.start(num_workers)
        self.check_num_workers(start.order.num_streams_in_all)
        pairs = self._draw(start, worker, num_workers)
        if self.reports_positions:
            return ((self.make_batch(samples), position) for samples, position in pairs)
        return (self.make_batch(samples) for samples, _ in pairs)

    def check_num_workers(self, num_workers: int) -> None:
        """Raise a ValueError if a worker would have no shard."""
        if len(self.shards) < num_workers:
            raise ValueError(
                f"{self.shards[0].parent} must hold at least "
                f"{units.count(num_workers, 'shard')}, not {len(self.shards)}, for "
                f"{units.count(num_workers, 'DataLoader worker')} ("
                f"{units.count(self.world_size, 'process', 'processes')} with "
                f"{num_workers // self.world_size} each). Lower num_workers of the "
                "dataloader, use fewer devices, or write more, smaller shards."
            )

    def _draw(
        self, start: RunPosition, worker: int, num_workers: int
    ) -> Iterator[tuple[list[Any], StreamPosition | None]]:
        """Yield the samples of each batch of a worker, and positions of their streams."""
        streams: dict[int, DrawnBatches] = {}
        # A DataLoader takes a batch from each of its workers in turn, beginning with the first.
        first = start.num_batches + self.rank + self.world_size * worker
        stride = self.world_size * num_workers
        makes_all = start.order.num_streams_in_all % stride == 0
        for number in count(first, stride):
            stream, index = start.order.locate(number)
            if stream not in streams:
                streams[stream] = DrawnBatches(
                    partial(
                        self.stream_batches,
                        worker=stream,
                        num_workers=start.order.num_streams_in_all,
                    ),
                    shards=self.shards,
                    stream=stream,
                    position=start.streams.get(stream),
                    makes_all=makes_all,
                )
            samples = streams[stream].draw(index)
            yield samples, streams[stream].report() if self.reports_positions else None

    def stream_batches(
        self, *, worker: int, num_workers: int, read: Reader, memory: Memory
    ) -> Iterator[list[Any]]:
        """Yield the samples of each batch of a stream, from the position in its memory on."""
        place: dict[str, Any] = {"worker": worker, "num_workers": num_workers, "read": read}
        if self.weights is None:
            samples = self._epochs(memory.setdefault("epochs", {}), **place)
        else:
            samples = self.weighted_samples(memory=memory.setdefault("weighted", {}), **place)
        # What was read before had a label, or the run would have ended.
        self._has_found_label |= "batching" in memory
        rng = memory.setdefault("rng", Random(f"{self.seed} reader {worker}"))
        return self.batching(samples, rng, memory.setdefault("batching", {}))

    def _epochs(self, memory: Memory, **place: Any) -> Iterator[Any]:
        """Yield the samples that a stream selects, one epoch after the other."""
        for epoch in count(memory.setdefault("epoch", 0)):
            memory["epoch"] = epoch
            yield from self.epoch_samples(
                epoch=epoch, memory=memory.setdefault("in_epoch", {}), **place
            )
            del memory["in_epoch"]

    def epoch_samples(
        self,
        *,
        epoch: int,
        worker: int,
        num_workers: int,
        read: Reader = read_from,
        memory: Memory | None = None,
    ) -> Iterator[Any]:
        """Yield the samples that one stream selects in one epoch, a function of its arguments."""
        memory = {} if memory is None else memory
        order = Random(f"{self.seed} epoch {epoch}")
        # Dealing out one set after the other gives each stream its share of every set.
        permuted = [
            shard for own in self._group(self.shards) for shard in order.sample(own, len(own))
        ]
        own_sets = self._group(permuted[worker::num_workers])
        rng = memory.setdefault("rng", Random(f"{self.seed} epoch {epoch} reader {worker}"))
        places = memory.setdefault("places", [{} for _ in own_sets])
        encoded = self._labelled(read_at_one_pace(own_sets, read, places))
        shuffled = memory.setdefault("shuffle", {})
        samples = shuffle(encoded, rng, shuffled, buffer_size=self.shuffle_buffer_size)
        return self._choose(samples, rng, memory)

    def weighted_samples(
        self,
        *,
        worker: int,
        num_workers: int,
        read: Reader = read_from,
        memory: Memory | None = None,
    ) -> Iterator[Any]:
        """Yield the samples that one stream selects of endless sets with weights."""
        assert self.weights is not None
        memory = {} if memory is None else memory
        sets = self._group(self.shards)
        weights = [self.weights[shards[0].parent.resolve()] for shards in sets]
        shares = [weight / sum(weights) for weight in weights]

        def read_passes(number: int, memory: Memory) -> Iterator[EncodedSample]:
            shards = sets[number]
            size = max(1, round(shares[number] * self.shuffle_buffer_size))
            for index in count(memory.setdefault("pass", 0)):
                memory["pass"] = index
                order = Random(f"{self.seed} set {number} pass {index}")
                # Another worker begins in each pass, so that all read the same number of shards.
                turn = (worker + index) % num_workers
                own = order.sample(shards, len(shards))[turn::num_workers]
                fresh = Random(f"{self.seed} set {number} pass {index} reader {worker}")
                rng = memory.setdefault("rng", fresh)
                place, shuffled = memory.setdefault("place", {}), memory.setdefault("shuffle", {})
                encoded = self._labelled(read_in_order(own, read, place))
                yield from shuffle(encoded, rng, shuffled, buffer_size=size)
                del memory["rng"], memory["place"], memory["shuffle"]

        memories = memory.setdefault("sets", [{} for _ in sets])
        passes = [read_passes(number, memories[number]) for number in range(len(sets))]
        counts = memory.setdefault("counts", [0] * len(sets))
        rng = memory.setdefault("rng", Random(f"{self.seed} sets reader {worker}"))
        return self._choose(read_by_shares(passes, shares, counts), rng, memory)

    def _choose(self, samples: Iterator[Any], rng: Random, memory: Memory) -> Iterator[Any]:
        memories = memory.setdefault("choosing", [{} for _ in self.choosing])
        for stage, own in zip(self.choosing, memories, strict=True):
            samples = stage(samples, rng, own)
        return samples

    def _labelled(self, samples: Iterable[EncodedSample]) -> Iterator[EncodedSample]:
        """Yield the samples with a label; if there are none, one without, which is then refused."""
        for sample in samples:
            has_label = self.has_label(sample)
            self._has_found_label |= has_label
            self._num_without_label += not has_label
            is_hopeless = self._num_without_label >= _NUM_WITHOUT_LABEL
            if has_label or (is_hopeless and not self._has_found_label):
                yield sample

    def _group(self, shards: Sequence[Path]) -> list[list[Path]]:
        """Return the shards of each set."""
        sets: dict[Path | None, list[Path]] = defaultdict(list)
        for shard in shards:
            sets[shard.parent if self.mixes_sets else None].append(shard)
        return list(sets.values())
