"""Streams of batches: the utterances of each DataLoader worker, and their order.

All DataLoader workers of all processes divide the data among themselves without communication,
from the seed and their number alone.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, islice
from pathlib import Path
from random import Random
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from w2v2_mt.core import units
from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import shuffle
from w2v2_mt.data.set_order import read_at_one_pace, read_by_shares
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.transforms import Stage

_NUM_WITHOUT_LABEL = 1_000
"""A worker that finds no label in this many training utterances would find none later."""


def is_any(sample: EncodedSample) -> bool:
    """Return True."""
    return True


@dataclass(kw_only=True, eq=False)
class BatchStream(IterableDataset[Any]):
    """A stream of batches of the utterances of shards.

    Args:
        choosing: Stages that select or shorten samples, before any audio is decoded.
        batching: The stage that cuts lists of samples.
        has_label: Returns True for a sample that is used; others are skipped.
        make_sample: Decodes a sample; it is not random.
        collate: Makes a batch of a list of decoded samples.
        rank: The number of this process.
        world_size: The number of processes.
    """

    shards: Sequence[Path]
    choosing: Sequence[Stage] = ()
    batching: Stage
    has_label: Callable[[EncodedSample], bool] = is_any
    make_sample: Callable[[EncodedSample], Any]
    collate: Callable[[list[Any]], Any]
    rank: int
    world_size: int

    def make_batch(self, samples: list[Any]) -> Any:
        """Decode and collate samples; a worker puts the batch into shared memory.

        A DataLoader would do so later, in a thread whose errors leave the run waiting forever.
        """
        batch = self.collate([self.make_sample(sample) for sample in samples])
        if get_worker_info() is None or not isinstance(batch, WaveformBatch):
            return batch
        try:
            return batch.share_memory()
        except RuntimeError as error:
            raise ValueError(
                f"a batch of {len(batch)} utterances does not fit into the shared memory "
                "(/dev/shm), through which DataLoader workers pass it. Enlarge it, in a container "
                "with --shm-size=8g, or set num_workers=0."
            ) from error


@dataclass(kw_only=True, eq=False)
class TrainingStream(BatchStream):
    """An endless stream of training batches; each epoch holds each utterance once.

    In each epoch the shards of each set, those of one folder, are permuted and dealt out to the
    workers. A worker reads one shard of each set at a time, all sets at the same pace relative to
    their size, so that every part of an epoch holds the sets in the same proportion. The utterances
    pass a shuffle buffer and the stages of `choosing`. Lists of them cross the borders of epochs,
    so that no utterance is dropped.

    With `weights`, the data is not divided into epochs: each set is read repeatedly, permuted in
    each pass, and the next utterance comes from the set that lags most in its share of the weights.

    A resumed stream repeats the random choices of the batches that were consumed, without reading
    or decoding audio, and continues with the next batch.

    Args:
        shuffle_buffer_size: The number of utterances in the shuffle buffer of a worker.
        num_batches_done: The number of batches that this process consumed before.
        mixes_sets: False reads the shards of all sets in one random order, as version 0.1.0 did,
            so that batches are long runs of one set.
        weights: The weight of each set, by its folder: its share in the utterances that a worker
            reads, relative to those of the other sets. None: one epoch after the other.
    """

    shuffle_buffer_size: int
    seed: int
    num_batches_done: int
    mixes_sets: bool = True
    weights: Mapping[Path, float] | None = None
    _num_without_label: int = field(default=0, init=False)
    _has_found_label: bool = field(default=False, init=False)

    def __iter__(self) -> Iterator[Any]:
        turn, num_turns = _worker()
        # A DataLoader takes its first batch from its first worker, so a resumed stream shifts the
        # numbers of the workers.
        turn = (turn + self.num_batches_done) % num_turns
        worker, num_workers = self.rank * num_turns + turn, self.world_size * num_turns
        self.check_num_workers(num_workers)
        is_done = True

        def read(shard: Path) -> Iterator[EncodedSample]:
            # The audio of a shard that is opened without it is read where it is decoded.
            return read_shard(shard, with_audio=not is_done)

        place: dict[str, Any] = {"worker": worker, "num_workers": num_workers, "read": read}
        samples: Iterator[Any]
        if self.weights is None:
            epochs = (self.epoch_samples(epoch=epoch, **place) for epoch in count())
            samples = chain.from_iterable(epochs)
        else:
            samples = self.weighted_samples(**place)
        batches = self.batching(samples, Random(f"{self.seed} reader {worker}"))
        for _ in islice(batches, len(range(turn, self.num_batches_done, num_turns))):
            pass
        is_done = False
        return map(self.make_batch, batches)

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

    def epoch_samples(
        self,
        *,
        epoch: int,
        worker: int,
        num_workers: int,
        read: Callable[[Path], Iterator[EncodedSample]] = read_shard,
    ) -> Iterator[Any]:
        """Yield the samples that one worker selects in one epoch, a function of its arguments."""
        order = Random(f"{self.seed} epoch {epoch}")
        # Dealing out one set after the other gives each worker its share of every set.
        permuted = [
            shard for own in self._group(self.shards) for shard in order.sample(own, len(own))
        ]
        own_sets = self._group(permuted[worker::num_workers])
        rng = Random(f"{self.seed} epoch {epoch} reader {worker}")
        encoded = self._labelled(read_at_one_pace(own_sets, read))
        return self._choose(shuffle(encoded, rng, buffer_size=self.shuffle_buffer_size), rng)

    def weighted_samples(
        self,
        *,
        worker: int,
        num_workers: int,
        read: Callable[[Path], Iterator[EncodedSample]] = read_shard,
    ) -> Iterator[Any]:
        """Yield the samples that one worker selects of endless sets with weights."""
        assert self.weights is not None
        sets = self._group(self.shards)
        weights = [self.weights[shards[0].parent.resolve()] for shards in sets]
        shares = [weight / sum(weights) for weight in weights]

        def read_passes(number: int) -> Iterator[EncodedSample]:
            shards = sets[number]
            for index in count():
                order = Random(f"{self.seed} set {number} pass {index}")
                # Another worker begins in each pass, so that all read the same number of shards.
                turn = (worker + index) % num_workers
                own = order.sample(shards, len(shards))[turn::num_workers]
                rng = Random(f"{self.seed} set {number} pass {index} reader {worker}")
                encoded = self._labelled(sample for shard in own for sample in read(shard))
                size = max(1, round(shares[number] * self.shuffle_buffer_size))
                yield from shuffle(encoded, rng, buffer_size=size)

        passes = [read_passes(number) for number in range(len(sets))]
        rng = Random(f"{self.seed} sets reader {worker}")
        return self._choose(read_by_shares(passes, shares), rng)

    def _choose(self, samples: Iterator[Any], rng: Random) -> Iterator[Any]:
        for stage in self.choosing:
            samples = stage(samples, rng)
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


@dataclass(kw_only=True, eq=False)
class EvaluationStream(BatchStream):
    """A stream of each utterance of the shards once, in an order that never changes.

    The utterances are dealt out one by one, so any number of workers works with any number of
    shards; each worker reads the audio of its own utterances only. A key that occurs twice counts
    once. Reading stops when all selected utterances are found.

    Args:
        only_keys: Read these utterances only; one that is missing is a ValueError. None: all.
        max_num_utterances: Read the first this many utterances only. None: all.
        max_num_of_speaker: Read the first this many utterances of each speaker only. None: all.
    """

    only_keys: frozenset[str] | None = None
    max_num_utterances: int | None = None
    max_num_of_speaker: int | None = None

    def __iter__(self) -> Iterator[Any]:
        rng = Random(0)  # The stages take a generator, but evaluation is not random.
        samples = self._read_samples()
        for stage in self.choosing:
            samples = stage(samples, rng)
        return map(self.make_batch, self.batching(samples, rng))

    def _read_samples(self) -> Iterator[EncodedSample]:
        local_worker, num_local_workers = _worker()
        worker = self.rank * num_local_workers + local_worker
        found: set[str] = set()
        num_of_speaker: Counter[str] = Counter()
        unlabelled: EncodedSample | None = None
        for sample in (s for shard in self.shards for s in read_shard(shard, with_audio=False)):
            key, speaker = sample.key, sample.speaker
            if not self.has_label(sample):
                unlabelled = sample
                continue
            if key in found or num_of_speaker[speaker] == self.max_num_of_speaker:
                continue
            if self.only_keys is not None and key not in self.only_keys:
                continue
            if len(found) % (self.world_size * num_local_workers) == worker:
                yield sample
            found.add(key)
            num_of_speaker[speaker] += 1
            if len(found) == self.max_num_utterances:
                return
            if self.only_keys is not None and found == self.only_keys:
                return
        if not found and unlabelled is not None:
            yield unlabelled  # Making the sample of a task reports what it lacks.
        if missing := sorted((self.only_keys or frozenset()) - found):
            folders = ", ".join(sorted({str(shard.parent) for shard in self.shards}))
            raise ValueError(
                f"The shards of {folders} must hold all utterances of the trial lists, but "
                f"{len(missing)} are missing, first {missing[0]}. Write these shards and lists "
                "again."
            )


def _worker() -> tuple[int, int]:
    """Return the number of this DataLoader worker and the number of workers of this process."""
    worker = get_worker_info()
    return (0, 1) if worker is None else (worker.id, worker.num_workers)
