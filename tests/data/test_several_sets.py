from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tests.helpers.shard_files import Utterance, write_shard
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import equal_size_batches
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.data.streams import TrainingStream


def _key(sample: EncodedSample) -> str:
    return sample.key


def _training(shards: list[Path], **changes: Any) -> TrainingStream:
    settings: dict[str, Any] = {
        "shuffle_buffer_size": 5,
        "batching": partial(equal_size_batches, batch_size=1),
        "make_sample": _key,
        "collate": list,
        "seed": 1,
        "num_batches_done": 0,
        "rank": 0,
        "world_size": 1,
    }
    return TrainingStream(shards=shards, **settings | changes)


def _keys(stream: Any, num_workers: int, num_batches: int) -> list[str]:
    """The keys of the first batches of a real DataLoader."""
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    return [key for batch in islice(loader, num_batches) for key in batch]


SET_SIZES = {"small": 20, "medium": 75, "large": 105}
"""Utterances of three sets, about in the proportion of LibriSpeech's training sets."""


@pytest.fixture(scope="module")
def shards_of_sets(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Sets of different sizes, one of them with longer audio, in shards of 5 utterances."""
    root = tmp_path_factory.mktemp("sets")
    for name, size in SET_SIZES.items():
        num_samples = 1600 if name == "medium" else 400
        for start in range(0, size, 5):
            keys = [f"{name}/v/{number}" for number in range(start, start + 5)]
            utterances = [
                Utterance(key=key, waveform=np.zeros(num_samples), metadata={}) for key in keys
            ]
            write_shard(root / name / f"s_{start:06d}.tar", utterances)
    return [shard for name in SET_SIZES for shard in find_shards(root / name, producer="x.sh")]


@pytest.mark.parametrize("num_workers", [1, 2])
def test_every_part_of_an_epoch_holds_the_sets_in_proportion(
    shards_of_sets: list[Path], num_workers: int
) -> None:
    num_utterances = sum(SET_SIZES.values())
    keys = _keys(_training(shards_of_sets), num_workers, 2 * num_utterances)
    for start in range(0, 2 * num_utterances, 50):
        part = Counter(key.split("/")[0] for key in keys[start : start + 50])
        for name, size in SET_SIZES.items():
            # Independent drawing would have a standard deviation of up to 0.07.
            assert abs(part[name] / 50 - size / num_utterances) < 0.1


@pytest.mark.parametrize("num_workers", [1, 2, 5])
def test_an_epoch_of_several_sets_holds_each_utterance_once(
    shards_of_sets: list[Path], num_workers: int
) -> None:
    stream = _training(shards_of_sets)
    for epoch in range(2):
        keys = [
            key
            for worker in range(num_workers)
            for key in map(
                _key, stream.epoch_samples(epoch=epoch, worker=worker, num_workers=num_workers)
            )
        ]
        expected = [f"{name}/v/{n}" for name, size in SET_SIZES.items() for n in range(size)]
        assert sorted(keys) == sorted(expected)


def test_a_worker_holds_one_open_shard_of_each_set(
    shards_of_sets: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_open, most_open = 0, 0

    def read(shard: Path, start: int) -> Iterator[EncodedSample]:
        nonlocal num_open, most_open
        num_open += 1
        most_open = max(most_open, num_open)
        yield from read_shard(shard, start=start)
        num_open -= 1

    stream = _training(shards_of_sets)
    assert len(list(stream.epoch_samples(epoch=0, worker=0, num_workers=1, read=read))) == 200
    assert (num_open, most_open) == (0, len(SET_SIZES))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_batches_done", [3, 60])
def test_a_stream_of_several_sets_resumes_bit_for_bit(
    shards_of_sets: list[Path], num_workers: int, num_batches_done: int
) -> None:
    whole = _keys(_training(shards_of_sets), num_workers, num_batches_done + 40)
    resumed = _training(shards_of_sets, num_batches_done=num_batches_done)
    assert _keys(resumed, num_workers, 40) == whole[num_batches_done:]


def test_a_run_of_an_earlier_version_resumes_with_the_order_that_it_began_with(
    shards_of_sets: list[Path], librispeech: Callable[..., SpeechData]
) -> None:
    data = librispeech()
    assert data.mixes_sets
    data.load_state_dict({"num_batches_done": 3})
    stream = data.train_dataloader().dataset
    assert isinstance(stream, TrainingStream)
    assert not stream.mixes_sets
    keys = _keys(_training(shards_of_sets, mixes_sets=False, shuffle_buffer_size=1), 0, 200)
    order = Random("1 epoch 0").sample(shards_of_sets, len(shards_of_sets))
    assert [key.split("/")[0] for key in keys[1::5]] == [shard.parent.name for shard in order]
