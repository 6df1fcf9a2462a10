"""The batches of one stream of a run, drawn from a saved position on, and its later positions."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.positions import (
    StreamPosition,
    read_memory,
    unreadable_position,
    write_memory,
)
from w2v2_mt.data.shards import read_shard

NUM_BATCHES_BETWEEN_POSITIONS = 32
"""A resumed stream draws at most about this many batches again, which takes some 20 ms."""


class DrawnBatches:
    """The samples of the batches of one stream in order, from a position on.

    Args:
        make_batches: Returns the batches from the position in a memory on; its keyword arguments
            are `memory` and `read`.
        makes_all: True if this worker makes all of its batches, and so reads all of the audio.
    """

    def __init__(
        self,
        make_batches: Callable[..., Iterator[list[Any]]],
        *,
        shards: Sequence[Path],
        stream: int,
        position: StreamPosition | None,
        makes_all: bool,
    ) -> None:
        self.shards = shards
        self.stream = stream
        self.num_drawn = 0 if position is None else position.num_batches
        self.num_reported = self.num_drawn
        self.is_restored = position is not None
        self.makes_all = makes_all
        self.reads_ahead = False
        with self._explain_position():
            self.memory = {} if position is None else read_memory(position.memory, self.shards)
            self.batches = make_batches(memory=self.memory, read=self._read)

    def _read(self, shard: Path, start: int) -> Iterator[EncodedSample]:
        # Audio is read where it is decoded, so that none waits in the memory of a worker; the order
        # in which a disk reads it stays that of the shard.
        return read_shard(shard, with_audio=False, start=start, reads_ahead=self.reads_ahead)

    def draw(self, index: int) -> list[Any]:
        """Return the samples of a batch, after drawing those before it without their audio."""
        with self._explain_position():
            if index < self.num_drawn:
                raise IndexError("it is after the batches that were consumed")
            for _ in islice(self.batches, index - self.num_drawn):
                pass
            self.reads_ahead = self.makes_all
            samples = next(self.batches)
        self.num_drawn = index + 1
        self.is_restored = False
        return samples

    @contextmanager
    def _explain_position(self) -> Iterator[None]:
        """Raise a ValueError where a position of a checkpoint does not fit."""
        try:
            yield
        except (TypeError, KeyError, IndexError, AttributeError) as error:
            if not self.is_restored:
                raise
            raise unreadable_position(error) from error

    def report(self) -> StreamPosition | None:
        """Return the position after some batches, and None after the others."""
        period = NUM_BATCHES_BETWEEN_POSITIONS
        if self.num_drawn // period == self.num_reported // period:
            return None
        self.num_reported = self.num_drawn
        memory = write_memory(self.memory, self.shards)
        return StreamPosition(stream=self.stream, num_batches=self.num_drawn, memory=memory)
