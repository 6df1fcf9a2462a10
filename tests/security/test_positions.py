"""The position in the data of a checkpoint of somebody else: a sentence, or the data of the run."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

from tests.helpers.shard_files import Utterance, write_shard
from w2v2_mt.data.batching import dynamic_batches
from w2v2_mt.data.encoded_audio import sample_length
from w2v2_mt.data.loaders import TrainingLoader
from w2v2_mt.data.positions import RunPosition
from w2v2_mt.data.streams import TrainingStream

RANDOM = list(Random(0).getstate())


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    for shard in range(2):
        utterances = [
            Utterance(key=f"{shard}/{n}", waveform=np.zeros(400 + n), metadata={"num_frames": n})
            for n in range(40)
        ]
        write_shard(folder / f"{shard}.tar", utterances)
    return sorted(folder.glob("*.tar"))


def _loader(shards: list[Path], position: RunPosition | None = None) -> TrainingLoader:
    stream = TrainingStream(
        shards=shards,
        shuffle_buffer_size=4,
        batching=partial(
            dynamic_batches, max_num_samples=200, max_queue_size=5, length=sample_length
        ),
        make_sample=lambda sample: sample.key,
        collate=list,
        seed=1,
        num_batches_done=0,
        rank=0,
        world_size=1,
        position=position,
        reports_positions=True,
    )
    return TrainingLoader(stream, num_workers=0, pin_memory=False)


@pytest.fixture(scope="module")
def state(shards: list[Path]) -> dict[str, Any]:
    loader = _loader(shards)
    for _ in zip(range(40), loader, strict=False):
        pass
    return loader.position_state(39)


def _restore(shards: list[Path], state: Any) -> list[str]:
    return next(iter(_loader(shards, RunPosition.from_state(state, shards))))


def _with_memory(state: dict[str, Any], change: Callable[[Any], Any] | str) -> dict[str, Any]:
    ((stream, (number, text)),) = state["streams"].items()
    if isinstance(change, str):
        text = change
    else:
        memory = json.loads(text)
        change(memory)
        text = json.dumps(memory)
    return {**state, "streams": {stream: [number, text]}}


def _set(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(memory: Any) -> None:
        *parents, last = path
        for parent in parents:
            memory = memory[parent]
        memory[last] = to

    return change


TEXTS: dict[str, Any] = {
    "nothing": "",
    "no JSON": "{",
    "a list": "[1]",
    "depth": "[" * 100_000,
    "a shard that is not there": _set("batching", "queue", to=[{"_sample": [9, 0]}]),
    "a sample that is not there": _set("batching", "queue", to=[{"_sample": [0, 99]}]),
    "a sample from the end": _set("batching", "queue", to=[{"_sample": [0, -1]}]),
    "a chunk of texts": _set("batching", "queue", to=[{"_sample": [0, 1, "a", "b"]}]),
    "numbers for samples": _set("epochs", "in_epoch", "shuffle", "buffer", to=[1, 2, 3, 4]),
    "a number for a queue": _set("batching", "queue", to=7),
    "a text for an epoch": _set("epochs", "epoch", to="x"),
    "a list for a memory": _set("epochs", to=[]),
    "a number for a generator": _set("rng", to=3),
    "a short generator": _set("rng", to={"_random": [3, [1, 2], None]}),
    "a generator of texts": _set("rng", to={"_random": [3, ["x"] * 625, None]}),
    "a generator of another version": _set("rng", to={"_random": [1, RANDOM[1], None]}),
}


@pytest.mark.parametrize("kind", TEXTS)
def test_a_malformed_memory_is_a_sentence(shards, state, kind):
    with pytest.raises(ValueError, match=r"position in the data must be as a run saves it, but"):
        _restore(shards, _with_memory(state, TEXTS[kind]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("num_processes", 0),
        ("num_streams", -1),
        ("num_streams", 10**30),
        ("num_batches", "7"),
        ("streams", [1]),
        ("streams", {0: "x"}),
        ("streams", {0: [1, 2]}),
        ("streams", {0: [10**6, "{}"]}),
    ],
)
def test_a_malformed_state_is_a_sentence(shards, state, name, value):
    with pytest.raises(ValueError, match=r"position in the data must be as a run saves it, but"):
        _restore(shards, {**state, name: value})


def test_the_state_itself_is_restored(shards, state):
    assert len(_restore(shards, state)) > 0
