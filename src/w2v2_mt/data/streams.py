"""Streams of batches: which utterance is read by which reader, in which order.

A reader is one DataLoader worker of one process; all readers of a run share out the data among
themselves without exchanging a word, from the seed and their number alone.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import shuffled
from w2v2_mt.data.shards import read_shard, read_shard_without_audio
from w2v2_mt.data.stages import Stage

Collate = Callable[[list[Any]], Any]
Read = Callable[[Path], Iterator[EncodedSample]]


class TrainingStream(IterableDataset[Any]):
    """Batches without end; each epoch of all readers together holds each utterance once.

    In each epoch the shards are permuted anew and dealt out to the readers, and the utterances of
    a reader pass a shuffle buffer and the stages of `choosing`. `batching`, also a stage, then
    cuts lists of samples across the borders of epochs, so that none is dropped there; those of a
    list pass the stages of `decoding`, which draw nothing, and `collate` makes a batch of them.

    A stream that goes on after `num_batches_done` batches, over all readers of a process, draws
    again what they were, without reading or decoding audio, and gives the ones that follow.
    """

    def __init__(
        self,
        *,
        shards: Sequence[Path],
        shuffle_buffer_size: int,
        choosing: Sequence[Stage],
        batching: Stage,
        decoding: Sequence[Stage],
        collate: Collate,
        seed: int,
        num_batches_done: int,
        rank: int,
        world_size: int,
    ) -> None:
        self.shards = list(shards)
        self.shuffle_buffer_size = shuffle_buffer_size
        self.choosing = list(choosing)
        self.batching = batching
        self.decoding = list(decoding)
        self.collate = collate
        self.seed = seed
        self.num_batches_done = num_batches_done
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[Any]:
        turn, num_turns = self._turn()
        reader, num_readers = self.rank * num_turns + turn, self.world_size * num_turns
        self.check_num_readers(num_readers)
        reading = _Reading()
        epochs = (
            self.epoch_samples(epoch=epoch, reader=reader, num_readers=num_readers, read=reading)
            for epoch in count()
        )
        samples = (sample for epoch in epochs for sample in epoch)
        rng = Random(f"{self.seed} reader {reader}")
        batches = self.batching(samples, rng)
        reading.skips_audio = True
        for _ in islice(batches, len(range(turn, self.num_batches_done, num_turns))):
            pass
        reading.skips_audio = False
        return (self.collate(list(through_stages(batch, self.decoding, rng))) for batch in batches)

    def _turn(self) -> tuple[int, int]:
        """Which of every so many batches of this process the reader gives.

        A DataLoader takes the first batch from its first worker, which stands in for the reader
        whose turn it is.
        """
        worker = get_worker_info()
        if worker is None:
            return 0, 1
        return (worker.id + self.num_batches_done) % worker.num_workers, worker.num_workers

    def check_num_readers(self, num_readers: int) -> None:
        """Fewer shards than readers is a ValueError: a reader would have nothing to read."""
        if len(self.shards) < num_readers:
            raise ValueError(
                f"{len(self.shards)} shards in {self.shards[0].parent} cannot be dealt out to "
                f"{num_readers} readers ({self.world_size} processes with "
                f"{num_readers // self.world_size} each): lower num_workers of the dataloader, "
                "use fewer devices, or write more, smaller shards"
            )

    def epoch_samples(
        self, *, epoch: int, reader: int, num_readers: int, read: Read = read_shard
    ) -> Iterator[Any]:
        """What one reader chooses in one epoch: a function of its arguments."""
        order = Random(f"{self.seed} epoch {epoch}").sample(self.shards, len(self.shards))
        rng = Random(f"{self.seed} epoch {epoch} reader {reader}")
        encoded = (sample for shard in order[reader::num_readers] for sample in read(shard))
        buffered = shuffled(encoded, buffer_size=self.shuffle_buffer_size, rng=rng)
        return through_stages(buffered, self.choosing, rng)


class _Reading:
    """Reads shards, without their audio while `skips_audio`.

    A shard that was begun without is read to its end without; its audio is read where it is used.
    """

    def __init__(self) -> None:
        self.skips_audio = False

    def __call__(self, shard: Path) -> Iterator[EncodedSample]:
        return read_shard_without_audio(shard) if self.skips_audio else read_shard(shard)


class EvaluationStream(IterableDataset[Any]):
    """Each utterance of the shards once, in an order that never changes; then it ends.

    The utterances are dealt out one by one, so any number of readers works with any number of
    shards; each reader reads the audio of its own ones only. A key that comes twice counts once.
    With `only_keys`, only these are read and a key that is nowhere is a ValueError; with
    `max_num_utterances`, only the first ones; with `max_num_of_speaker`, only the first ones of
    each speaker. Reading stops when all are found.

    The utterances of a reader pass the stages of `choosing`; `batching` cuts lists of them, before
    any audio is read, and each list passes the stages of `decoding` on its way to `collate`.
    """

    def __init__(
        self,
        *,
        shards: Sequence[Path],
        choosing: Sequence[Stage],
        batching: Stage,
        decoding: Sequence[Stage],
        collate: Collate,
        only_keys: frozenset[str] | None,
        max_num_utterances: int | None,
        max_num_of_speaker: int | None,
        rank: int,
        world_size: int,
    ) -> None:
        self.shards = list(shards)
        self.choosing = list(choosing)
        self.batching = batching
        self.decoding = list(decoding)
        self.collate = collate
        self.only_keys = only_keys
        self.max_num_utterances = max_num_utterances
        self.max_num_of_speaker = max_num_of_speaker
        self.rank = rank
        self.world_size = world_size

    def __iter__(self) -> Iterator[Any]:
        reader, num_readers = _reader(self.rank, self.world_size)
        # Nothing is drawn in evaluation; the stages ask for a generator all the same.
        rng = Random(0)
        encoded = self._encoded_samples(reader=reader, num_readers=num_readers)
        batches = self.batching(through_stages(encoded, self.choosing, rng), rng)
        return (self.collate(list(through_stages(batch, self.decoding, rng))) for batch in batches)

    def _encoded_samples(self, *, reader: int, num_readers: int) -> Iterator[EncodedSample]:
        found: set[str] = set()
        num_of_speaker: Counter[str] = Counter()
        for sample in (s for shard in self.shards for s in read_shard_without_audio(shard)):
            if sample.key in found or not self._is_chosen(sample.key, num_of_speaker):
                continue
            if len(found) % num_readers == reader:
                yield sample
            found.add(sample.key)
            num_of_speaker[speaker_of(sample.key)] += 1
            if self._is_complete(found):
                return
        self._check_all_found(found)

    def _is_chosen(self, key: str, num_of_speaker: Mapping[str, int]) -> bool:
        if self.max_num_of_speaker == num_of_speaker[speaker_of(key)]:
            return False
        return self.only_keys is None or key in self.only_keys

    def _is_complete(self, found: set[str]) -> bool:
        if len(found) == self.max_num_utterances:
            return True
        return self.only_keys is not None and found == self.only_keys

    def _check_all_found(self, found: set[str]) -> None:
        missing = sorted((self.only_keys or frozenset()) - found)
        if missing:
            folders = ", ".join(sorted({str(shard.parent) for shard in self.shards}))
            raise ValueError(
                f"{len(missing)} utterances of the trial lists are not in the shards of "
                f"{folders}, the first is {missing[0]}: write these shards and lists again"
            )


def through_stages(samples: Iterable[Any], stages: Iterable[Stage], rng: Random) -> Iterator[Any]:
    """The samples after all stages, one stage after the other."""
    for stage in stages:
        samples = stage(samples, rng)
    return iter(samples)


def _reader(rank: int, world_size: int) -> tuple[int, int]:
    """The number of this reader and how many there are in all processes."""
    worker = get_worker_info()
    if worker is None:
        return rank, world_size
    return rank * worker.num_workers + worker.id, world_size * worker.num_workers
