"""A position that was saved gives the batches that would have followed, after any number of steps.

The positions are those of real DataLoaders; several processes are loaders that take their turns.
"""

import io
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.shard_files import Utterance, write_shard
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.shard_index import index_of
from w2v2_mt.data import drawn_batches
from w2v2_mt.data.batching import dynamic_batches, equal_size_batches
from w2v2_mt.data.encoded_audio import decode, sample_length
from w2v2_mt.data.loaders import TrainingLoader
from w2v2_mt.data.positions import (
    BatchOrder,
    RunPosition,
    ShardNames,
    read_memory,
    write_memory,
)
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.streams import TrainingStream, read_from
from w2v2_mt.data.transforms import ChunkSelector, select_chunks

SETS = {"small": 2, "medium": 6, "large": 8}
"""The number of shards of each set."""
Batch = list[tuple[str, range | None]]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    rng = np.random.default_rng(0)
    for name, num_shards in SETS.items():
        for shard in range(num_shards):
            lengths = rng.integers(400, 4_000, 3 + shard % 3)
            utterances = [
                Utterance(
                    key=f"{name}/{shard}/{number}",
                    waveform=rng.uniform(-1, 1, length),
                    metadata={"num_frames": int(length)},
                )
                for number, length in enumerate(lengths)
            ]
            write_shard(root / name / f"s_{shard:06d}.tar", utterances)
    return root


@pytest.fixture(autouse=True)
def short_period(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawn_batches, "NUM_BATCHES_BETWEEN_POSITIONS", 8)


def _chunking(strategy: Any) -> Any:
    selector = ChunkSelector(
        desired_chunk_length_sec=0.05, selection_strategy=strategy, match_speech_lengths=False
    )
    return partial(select_chunks, selector=selector, shuffle_buffer_size=7)


SPEECH: dict[str, Any] = {
    "choosing": [],
    "batching": partial(
        dynamic_batches, max_num_samples=9_000, max_queue_size=9, length=sample_length
    ),
}
KINDS: dict[str, dict[str, Any]] = {
    "speech": SPEECH,
    "speakers": {"choosing": [_chunking("random")]},
    "all chunks": {"choosing": [_chunking("random_contiguous")]},
    "weights": {**SPEECH, "weights": {"small": 3.0, "medium": 1.0, "large": 1.5}},
    "weighted chunks": {
        "choosing": [_chunking("contiguous")],
        "weights": {"small": 3.0, "medium": 1.0, "large": 1.5},
    },
    "order of 0.1.0": {**SPEECH, "mixes_sets": False},
    "one set": {**SPEECH, "sets": ["large"]},
}


def _stream(root: Path, kind: str, **changes: Any) -> TrainingStream:
    settings = {
        "shuffle_buffer_size": 6,
        "batching": partial(equal_size_batches, batch_size=3),
        "make_sample": _describe,
        "collate": list,
        "seed": 1,
        "num_batches_done": 0,
        "rank": 0,
        "world_size": 1,
        "reports_positions": True,
        **KINDS[kind],
        **changes,
    }
    names = settings.pop("sets", list(SETS))
    if "weights" in settings:
        weights = settings["weights"].items()
        settings["weights"] = {(root / name).resolve(): weight for name, weight in weights}
    shards = [shard for name in names for shard in find_shards(root / name, producer="x")]
    return TrainingStream(shards=shards, **settings)


def _describe(sample: EncodedSample) -> tuple[str, range | None]:
    return sample.key, sample.chunk


def _run(
    root: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    *,
    num_processes: int,
    num_workers: int,
    num_steps: int,
    position: RunPosition | None = None,
) -> tuple[list[Batch], RunPosition]:
    """Return the batches of all processes in their order, and the position after them."""
    loaders = []
    for rank in range(num_processes):
        place = {"rank": rank, "world_size": num_processes, "position": position}
        stream = _stream(root, kind, **place)
        loaders.append(TrainingLoader(stream, num_workers=num_workers, pin_memory=False))
    batches = [list(islice(loader, num_steps)) for loader in loaders]
    reported = [loader.positions._reported for loader in loaders]
    monkeypatch.setattr("w2v2_mt.data.positions.gather_from_processes", lambda _: reported)
    states = [loader.position_state(num_steps) for loader in loaders]
    assert all(state == states[0] for state in states)
    file = io.BytesIO()
    torch.save(states[0], file)
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    in_turn = [batch for step in zip(*batches, strict=True) for batch in step]
    return in_turn, RunPosition.from_state(state, loaders[0].shards)


@pytest.mark.parametrize(("num_workers", "num_steps"), [(0, 1), (0, 8), (0, 61), (2, 45)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_continues_with_the_batches_that_would_have_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str, num_steps: int, num_workers: int
) -> None:
    run = partial(_run, root, kind, monkeypatch, num_processes=1, num_workers=num_workers)
    whole, _ = run(num_steps=num_steps + 20)
    first, position = run(num_steps=num_steps)
    second, position = run(num_steps=9, position=position)
    third, _ = run(num_steps=11, position=position)
    assert first + second + third == whole


@pytest.mark.parametrize("kind", ["all chunks", "weights"])
@pytest.mark.parametrize(
    ("order", "before", "after"),
    [
        ((1, 2), (1, 2), (1, 0)),
        ((1, 1), (1, 0), (1, 2)),
        ((1, 3), (1, 0), (1, 2)),
        ((1, 2), (3, 0), (2, 1)),
        ((3, 2), (1, 0), (2, 0)),
    ],
)
def test_other_numbers_of_workers_and_processes_make_the_same_batches(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    order: tuple[int, int],
    before: tuple[int, int],
    after: tuple[int, int],
) -> None:
    num_processes, num_streams = order
    start = RunPosition(
        order=BatchOrder(num_processes=num_processes, num_streams=num_streams),
        num_batches=0,
        streams={},
    )

    def run(numbers: tuple[int, int], position: RunPosition) -> tuple[list[Batch], RunPosition]:
        num_processes, num_workers = numbers
        return _run(
            root,
            kind,
            monkeypatch,
            num_processes=num_processes,
            num_workers=num_workers,
            num_steps=66 // num_processes,
            position=position,
        )

    streams_alone = [
        _stream(root, kind).stream_batches(
            worker=number, num_workers=num_processes * num_streams, read=read_from, memory={}
        )
        for number in range(num_processes * num_streams)
    ]
    first, position = run(before, start)
    second, position = run(after, position)
    third, _ = run(before, position)
    batches = first + second + third
    assert len(batches) == 3 * 66
    for number, batch in enumerate(batches):
        stream, _ = start.order.locate(number)
        assert batch == [_describe(sample) for sample in next(streams_alone[stream])]


def test_the_audio_is_that_of_the_batches_that_would_have_followed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, "decoded", {**KINDS["speakers"], "make_sample": decode})
    run = partial(_run, root, "decoded", monkeypatch, num_processes=1, num_workers=0)
    whole, _ = run(num_steps=60)
    _, position = run(num_steps=45)
    rest, _ = run(num_steps=15, position=position)
    for batch, expected in zip(rest, whole[45:], strict=True):
        for waveform, of_whole in zip(batch, expected, strict=True):
            assert torch.equal(torch.as_tensor(waveform), torch.as_tensor(of_whole))


@pytest.mark.parametrize("kind", KINDS)
def test_the_samples_that_are_drawn_again_are_as_few_after_any_number_of_steps(
    root: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    num_drawn = 0

    def count(samples: Any, rng: Random, memory: dict[str, Any]) -> Iterator[Any]:
        nonlocal num_drawn
        for sample in samples:
            num_drawn += 1
            yield sample

    settings = {**KINDS[kind], "choosing": [*KINDS[kind].get("choosing", ()), count]}
    monkeypatch.setitem(KINDS, "counted", settings)
    run = partial(_run, root, "counted", monkeypatch, num_processes=1, num_workers=0)
    largest = []
    for num_steps in (14, 78, 654):  # Each is 6 batches after a position.
        _, position = run(num_steps=num_steps)
        num_drawn = 0
        run(num_steps=1, position=position)
        largest.append(num_drawn)
    # Six or seven batches of about three samples, and at most one queue of nine.
    assert max(largest) < 50


def test_a_position_takes_a_few_bytes_for_each_sample_that_is_held_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    for num_steps in (40, 400):
        _, position = _run(
            root, "speech", monkeypatch, num_processes=1, num_workers=0, num_steps=num_steps
        )
        (stream,) = position.streams.values()
        sizes.append(len(stream.memory))
    # Two random generators of 625 words, and a dozen samples.
    assert max(sizes) < 2 * 625 * 12 + 20 * 40


def test_a_position_is_restored_without_any_index(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(_run, root, "speech", monkeypatch, num_processes=1, num_workers=0)
    whole, _ = run(num_steps=60)
    _, position = run(num_steps=50)
    for path in root.glob("*/*.tar.index"):
        path.unlink()
    monkeypatch.setattr("w2v2_mt.data.shards.write_index", lambda *_: False)
    rest, _ = run(num_steps=10, position=position)
    assert rest == whole[50:]
    assert not index_of(next(root.glob("*/*.tar"))).exists()


def test_other_shards_are_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, position = _run(root, "speech", monkeypatch, num_processes=1, num_workers=0, num_steps=30)
    shards = _stream(root, "speech").shards
    state = position.to_state(ShardNames.of(shards))
    message = (
        rf"^The training shards, such as {shards[1]}, must be those that the run began with, of "
        r"the same names and sizes, but are others \(15 shards now, 16 shards then\)\. Bring them"
    )
    with pytest.raises(ValueError, match=message):
        RunPosition.from_state(state, shards[1:])
    with pytest.raises(ValueError, match="16 shards now, 16 shards then"):
        RunPosition.from_state(state, [*shards[1:], shards[0]])
    assert RunPosition.from_state(state, shards) == position


def test_the_order_deals_out_batches_to_streams_in_turn() -> None:
    order = BatchOrder(num_processes=2, num_streams=3)
    # Streams 0 to 2 are of the first process, 3 to 5 of the second.
    expected = [(0, 0), (3, 0), (1, 0), (4, 0), (2, 0), (5, 0), (0, 1), (3, 1), (1, 1)]
    assert [order.locate(number) for number in range(9)] == expected
    for num_batches in range(20):
        streams_of_batches = [order.locate(number)[0] for number in range(num_batches)]
        for stream in range(6):
            expected_count = streams_of_batches.count(stream)
            assert order.count_batches(stream, num_batches) == expected_count


def test_a_memory_is_text_and_back(root: Path) -> None:
    shards = find_shards(root / "large", producer="x")
    samples = list(read_shard(shards[2], with_audio=False))
    rng = Random(3)
    rng.random()
    memory: dict[str, Any] = {
        "queue": [samples[1], EncodedSample(**{**vars(samples[0]), "chunk": range(3, 9)})],
        "batches": [[samples[2]], []],
        "progress": 0.1 + 0.2,
        "is_emptying": True,
        "rng": rng,
    }
    found = read_memory(write_memory(memory, shards), shards)
    assert found.pop("rng").random() == memory.pop("rng").random()
    assert found == memory
    with pytest.raises(TypeError, match="a set cannot be part of a position"):
        write_memory({"queue": {1}}, shards)
