"""The position of a run in its data: what each stream of batches holds back, as text.

A stage keeps what it holds back in a dictionary of its own, its memory. The memories of all stages
of a stream are its position; a sample is stored as the number of its shard and its number there.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any

from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.core.remote_files import announced_size, remote_folder_of
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.units import count
from w2v2_mt.data.batching import Memory
from w2v2_mt.data.shards import read_shard, shard_size

_MAX_COUNT = 10**15


@dataclass(frozen=True, kw_only=True)
class BatchOrder:
    """The order of the batches of a run, which come from its streams in turn.

    Each process has streams of its own. A step takes one batch of each process; the next step takes
    it from the next stream of the process. Any worker of any process can make any batch.

    Args:
        num_processes: The number of processes with which the run began.
        num_streams: The number of streams of each process, one for each DataLoader worker then.
    """

    num_processes: int
    num_streams: int

    @property
    def num_streams_in_all(self) -> int:
        """The number of streams of all processes."""
        return self.num_processes * self.num_streams

    def locate(self, number: int) -> tuple[int, int]:
        """Return the stream of a batch of the run, and the number of the batch in this stream."""
        step, process = divmod(number, self.num_processes)
        index, turn = divmod(step, self.num_streams)
        return process * self.num_streams + turn, index

    def count_batches(self, stream: int, num_batches: int) -> int:
        """Return how many of the first `num_batches` batches of the run come from a stream."""
        process, turn = divmod(stream, self.num_streams)
        num_of_process = len(range(process, num_batches, self.num_processes))
        return len(range(turn, num_of_process, self.num_streams))


@dataclass(frozen=True, kw_only=True)
class StreamPosition:
    """The position of a stream after its first `num_batches` batches.

    Args:
        memory: The memories of its stages, as `write_memory` returns them.
    """

    stream: int
    num_batches: int
    memory: str


@dataclass(frozen=True, kw_only=True)
class ShardNames:
    """The number of training shards and a checksum of their names and sizes, wherever they are."""

    number: int
    digest: str

    @classmethod
    def of(cls, shards: Sequence[Path]) -> "ShardNames":
        """Return those of shards, none of which is downloaded for it."""
        lines = "".join(f"{shard.name} {_known_size(shard)}\n" for shard in shards)
        return cls(number=len(shards), digest=hashlib.sha256(lines.encode()).hexdigest())


@dataclass(frozen=True, kw_only=True)
class RunPosition:
    """The position of a run in the data of one training loader.

    Args:
        num_batches: The number of batches that all processes have consumed.
        streams: A position of each stream, which is not after these batches. A stream without one
            is at its beginning.
    """

    order: BatchOrder
    num_batches: int
    streams: Mapping[int, StreamPosition]

    def to_state(self, shards: "ShardNames") -> dict[str, Any]:
        """Return the position for a checkpoint."""
        return {
            "num_processes": self.order.num_processes,
            "num_streams": self.order.num_streams,
            "num_batches": self.num_batches,
            "num_shards": shards.number,
            "shards": shards.digest,
            "streams": {
                each.stream: [each.num_batches, each.memory] for each in self.streams.values()
            },
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any], shards: Sequence[Path]) -> "RunPosition":
        """Return the position of a checkpoint; other shards than then are a ValueError."""
        _check_state(state)
        names = ShardNames.of(shards)
        if state["shards"] != names.digest:
            then, now = count(state["num_shards"], "shard"), count(names.number, "shard")
            raise ValueError(
                f"The training shards, such as {shards[0]}, must be those that the run began with, "
                f"of the same names and sizes, but are others ({now} now, {then} then). Bring them "
                "back, or start another run with load_network_from_checkpoint."
            )
        streams = {
            stream: StreamPosition(stream=stream, num_batches=num_batches, memory=memory)
            for stream, (num_batches, memory) in state["streams"].items()
        }
        order = BatchOrder(num_processes=state["num_processes"], num_streams=state["num_streams"])
        return cls(order=order, num_batches=state["num_batches"], streams=streams)


@dataclass(kw_only=True)
class PositionRecord:
    """A record of the positions that the workers of one training loader report with their batches.

    Args:
        start: The position at which the loader begins.
        num_processes: The number of processes now.
    """

    start: RunPosition
    num_processes: int
    _reported: dict[int, list[StreamPosition]] = field(default_factory=dict, init=False)

    def take_batch(self, item: tuple[Any, StreamPosition | None]) -> Any:
        """Return the batch of an item of the loader, and record the position that it reports."""
        batch, position = item
        if position is not None:
            # Of two positions of a stream, one at least is not after the batches that are consumed,
            # since fewer batches are fetched in advance than lie between the two.
            self._reported.setdefault(position.stream, []).append(position)
            del self._reported[position.stream][:-2]
        return batch

    def position_after(self, num_batches: int) -> RunPosition:
        """Return the position after this process has consumed `num_batches` of the loader.

        Every process must call it.
        """
        order = self.start.order
        num_in_all = self.start.num_batches + num_batches * self.num_processes
        reported = gather_from_processes(self._reported)
        latest = dict(self.start.streams)
        for position in chain.from_iterable(chain(*(each.values() for each in reported))):
            is_before = position.num_batches <= order.count_batches(position.stream, num_in_all)
            known = latest.get(position.stream)
            if is_before and (known is None or known.num_batches < position.num_batches):
                latest[position.stream] = position
        return RunPosition(order=order, num_batches=num_in_all, streams=latest)


def write_memory(memory: Memory, shards: Sequence[Path]) -> str:
    """Return a memory as text.

    Raises:
        TypeError: A stage holds back something else than samples, numbers and generators.
    """
    numbers = {str(shard): number for number, shard in enumerate(shards)}

    def write(value: Any) -> Any:
        match value:
            case EncodedSample(number=int(), decoded=None):
                chunk = [] if value.chunk is None else [value.chunk.start, value.chunk.stop]
                return {"_sample": [numbers[value.shard], value.number, *chunk]}
            case Random():
                return {"_random": value.getstate()}
        raise TypeError(f"a {type(value).__name__} cannot be part of a position")

    return json.dumps(memory, default=write, separators=(",", ":"))


def read_memory(text: str, shards: Sequence[Path]) -> Memory:
    """Return the memory that `write_memory` has written, with samples without their audio.

    Raises:
        ValueError: It is not one, or a shard cannot be read.
    """

    @cache
    def samples_of(number: int) -> list[EncodedSample]:
        return list(read_shard(shards[number], with_audio=False))

    def read(found: dict[str, Any]) -> Any:
        match found:
            case {"_sample": [int(shard), int(number), *chunk]}:
                if min(shard, number) < 0:
                    raise TypeError("a sample has a number below 0")
                sample = samples_of(shard)[number]
                return replace(sample, chunk=range(*chunk)) if chunk else sample
            case {"_random": state}:
                return _read_generator(state)
        return found

    try:
        memory = json.loads(text, object_hook=read)
        if not isinstance(memory, dict):
            raise TypeError("it is not an object")
    except (TypeError, IndexError, OverflowError, json.JSONDecodeError, RecursionError) as error:
        raise unreadable_position(error) from error
    return memory


def _read_generator(state: Any) -> Random:
    rng = Random()
    try:
        version, words, gauss = state
        rng.setstate((version, tuple(words), gauss))
    except ValueError as error:
        raise TypeError(str(error)) from error
    return rng


def _known_size(shard: Path) -> int | None:
    """Return the size of a shard; None for one of another machine that does not state it."""
    is_elsewhere = remote_folder_of(shard) is not None
    return announced_size(shard) if is_elsewhere else shard_size(shard)


def unreadable_position(reason: object) -> ValueError:
    """Return the error for a position that no run has saved."""
    return ValueError(
        f"the position in the data must be as a run saves it, but is not ({reason}). Resume from "
        "another checkpoint, or start another run with load_network_from_checkpoint."
    )


def _check_state(state: Mapping[str, Any]) -> None:
    """Raise a ValueError if the position of a checkpoint has other types than a run writes."""
    for name, least in (("num_processes", 1), ("num_streams", 1), ("num_batches", 0)):
        value = state.get(name)
        if type(value) is not int or not least <= value <= _MAX_COUNT:
            raise unreadable_position(f"{name} is {value!r:.40}")
    streams = state.get("streams")
    if not isinstance(streams, dict):
        raise unreadable_position("it has no streams")
    for position in streams.values():
        match position:
            case [int(), str()]:
                pass
            case _:
                raise unreadable_position("a stream has no number and text")
