"""The base class of streams of batches, which decodes samples and makes batches of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.transforms import Stage


def is_any(sample: EncodedSample) -> bool:
    """Return True."""
    return True


def find_worker() -> tuple[int, int]:
    """Return the number of this DataLoader worker and the number of workers of this process."""
    worker = get_worker_info()
    return (0, 1) if worker is None else (worker.id, worker.num_workers)


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
        """Decode and collate samples."""
        return self.collate([self.make_sample(sample) for sample in samples])
