"""DataLoaders of streams: their workers leave signals to the run, and report positions to it."""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from w2v2_mt.core.remote_files import RemoteFolder, mirrors, share_mirrors
from w2v2_mt.core.stop_signals import hold_stop_signals, leave_stop_signals_to_parent
from w2v2_mt.core.workers import FORK_IF_POSSIBLE
from w2v2_mt.data.batch_stream import BatchStream
from w2v2_mt.data.positions import PositionRecord, ShardNames
from w2v2_mt.data.streams import TrainingStream
from w2v2_mt.data.worker_resources import (
    end_worker_that_cannot_pass_on,
    pass_small_tensors_by_value,
)


class StreamLoader(DataLoader[Any]):
    """A DataLoader of the batches of a stream.

    Its workers leave stop signals to the process that started them.
    """

    def __init__(self, stream: BatchStream, *, num_workers: int, pin_memory: bool) -> None:
        super().__init__(
            stream,
            batch_size=None,
            num_workers=num_workers,
            # Other launchers replace the default, and that of Python 3.14 is another one.
            multiprocessing_context=FORK_IF_POSSIBLE if num_workers else None,
            pin_memory=pin_memory and torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            # A DataLoader draws a seed when it starts; the network's random state stays untouched.
            generator=torch.Generator(),
            collate_fn=_unchanged,
            worker_init_fn=partial(_start_worker, mirrors()),
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        with hold_stop_signals():
            return super().__iter__()


class TrainingLoader(StreamLoader):
    """A DataLoader of training batches, which knows the position after each of them."""

    def __init__(self, stream: TrainingStream, *, num_workers: int, pin_memory: bool) -> None:
        assert stream.reports_positions
        super().__init__(stream, num_workers=num_workers, pin_memory=pin_memory)
        self.shards = stream.shards
        self.positions = PositionRecord(
            start=stream.start(max(1, num_workers)), num_processes=stream.world_size
        )

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return map(self.positions.take_batch, super().__iter__())

    def position_state(self, num_batches: int) -> dict[str, Any]:
        """Return the position after this many batches for a checkpoint; each process must call."""
        return self.positions.position_after(num_batches).to_state(self._shard_names)

    @cached_property
    def _shard_names(self) -> ShardNames:
        return ShardNames.of(self.shards)


def _unchanged(item: Any) -> Any:
    return item


def _start_worker(of_parent: Mapping[Path, RemoteFolder], _: int) -> None:
    share_mirrors(of_parent)
    leave_stop_signals_to_parent()
    end_worker_that_cannot_pass_on()
    pass_small_tensors_by_value()
