"""The stream of evaluation batches: each utterance once, in an order that never changes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batch_stream import BatchStream, find_worker
from w2v2_mt.data.shards import read_shard


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
            samples = stage(samples, rng, {})
        return map(self.make_batch, self.batching(samples, rng, {}))

    def _read_samples(self) -> Iterator[EncodedSample]:
        local_worker, num_local_workers = find_worker()
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
