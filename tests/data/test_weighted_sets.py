"""Training streams whose sets have weights: shares, passes and exact resumes."""

from collections import Counter
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tests.helpers.shard_files import Utterance, write_shard
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.batching import equal_size_batches
from w2v2_mt.data.set_order import read_by_shares
from w2v2_mt.data.shards import find_shards
from w2v2_mt.data.streams import TrainingStream

SET_SIZES = {"small": 10, "medium": 30, "large": 60}
WEIGHTS = {"small": 3.0, "medium": 0.5, "large": 1.5}
TOTAL = sum(WEIGHTS.values())


def _key(sample: EncodedSample) -> str:
    return sample.key


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sets of shards with 5 utterances each."""
    root = tmp_path_factory.mktemp("sets")
    for name, size in SET_SIZES.items():
        for start in range(0, size, 5):
            utterances = [
                Utterance(key=f"{name}/v/{number}", waveform=np.zeros(400), metadata={})
                for number in range(start, start + 5)
            ]
            write_shard(root / name / f"s_{start:06d}.tar", utterances)
    return root


def _stream(root: Path, **changes: Any) -> TrainingStream:
    shards = [shard for name in SET_SIZES for shard in find_shards(root / name, producer="x.sh")]
    settings: dict[str, Any] = {
        "shards": shards,
        "shuffle_buffer_size": 8,
        "batching": partial(equal_size_batches, batch_size=1),
        "make_sample": _key,
        "collate": list,
        "seed": 1,
        "num_batches_done": 0,
        "rank": 0,
        "world_size": 1,
        "weights": {(root / name).resolve(): weight for name, weight in WEIGHTS.items()},
    }
    return TrainingStream(**settings | changes)


def _keys(stream: TrainingStream, num_workers: int, num_batches: int) -> list[str]:
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    return [key for batch in islice(loader, num_batches) for key in batch]


def _of_worker(stream: TrainingStream, worker: int, num_workers: int, number: int) -> list[str]:
    samples = stream.weighted_samples(worker=worker, num_workers=num_workers)
    return [sample.key for sample in islice(samples, number)]


@pytest.mark.parametrize("num_workers", [1, 2, 3])
def test_each_set_has_its_share_at_every_position(root: Path, num_workers: int) -> None:
    for worker in range(num_workers):
        keys = _of_worker(_stream(root), worker, num_workers, 600)
        counts: Counter[str] = Counter()
        for position, key in enumerate(keys, start=1):
            counts[key.split("/")[0]] += 1
            for name, weight in WEIGHTS.items():
                assert abs(counts[name] - position * weight / TOTAL) <= 1


@pytest.mark.parametrize("weights", [(1, 1), (0.7, 0.2, 0.1), (5, 3, 1, 1), (1e-3, 1, 1e3)])
def test_shares_hold_for_any_weights(weights: tuple[float, ...]) -> None:
    shares = [weight / sum(weights) for weight in weights]
    sets = [iter([number] * 20_000) for number in range(len(shares))]
    counts = Counter[int]()
    numbers = read_by_shares(sets, shares, [0] * len(sets))
    for position, number in enumerate(islice(numbers, 10_000), start=1):
        counts[number] += 1
        assert all(abs(counts[n] - position * share) <= 1 for n, share in enumerate(shares))


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_pass_over_a_set_holds_each_utterance_once(root: Path, num_workers: int) -> None:
    """Each worker reads one shard of the small set in each pass with two workers."""
    per_worker = [
        [key for key in _of_worker(_stream(root), worker, num_workers, 300) if "small" in key]
        for worker in range(num_workers)
    ]
    size = SET_SIZES["small"] // num_workers
    passes = list(zip(*(_split(keys, size) for keys in per_worker), strict=True))
    assert len(passes) > 10
    orders = set()
    for parts in passes:
        keys = [key for part in parts for key in part]
        assert sorted(keys) == sorted(f"small/v/{number}" for number in range(10))
        orders.add(tuple(keys))
    assert len(orders) == len(passes)


def _split(keys: list[str], size: int) -> list[list[str]]:
    return [keys[start : start + size] for start in range(0, len(keys) - size + 1, size)]


def test_workers_read_equally_much_of_a_set_with_fewer_shards(root: Path) -> None:
    """Four workers share the two shards of the small set, of which none is read by one alone."""
    stream = _stream(root)
    for worker in range(4):
        keys = [key for key in _of_worker(stream, worker, 4, 500) if "small" in key]
        counts = Counter(keys)
        assert len(counts) == SET_SIZES["small"]
        assert max(counts.values()) < 2 * min(counts.values())


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("num_batches_done", [1, 2, 3, 4, 5, 40, 111])
def test_a_stream_with_weights_resumes_bit_for_bit(
    root: Path, world_size: int, num_workers: int, num_batches_done: int
) -> None:
    for rank in range(world_size):
        place = {"rank": rank, "world_size": world_size}
        whole = _keys(_stream(root, **place), num_workers, num_batches_done + 30)
        resumed = _stream(root, num_batches_done=num_batches_done, **place)
        assert _keys(resumed, num_workers, 30) == whole[num_batches_done:]


def test_a_seed_fixes_the_order_and_another_seed_changes_it(root: Path) -> None:
    one, same, other = (_keys(_stream(root, seed=seed), 2, 80) for seed in (1, 1, 2))
    assert one == same != other


def test_samples_without_a_label_do_not_count_for_a_share(root: Path) -> None:
    stream = _stream(root, has_label=_is_even)
    keys = _of_worker(stream, 0, 1, 200)
    assert all(int(key.split("/")[-1]) % 2 == 0 for key in keys)
    counts = Counter(key.split("/")[0] for key in keys)
    assert counts == {name: 200 * weight / TOTAL for name, weight in WEIGHTS.items()}


def _is_even(sample: EncodedSample) -> bool:
    return int(sample.key.split("/")[-1]) % 2 == 0


def test_an_epoch_without_weights_passes_over_samples_without_a_label(root: Path) -> None:
    stream = _stream(root, weights=None, has_label=_is_even)
    keys = [sample.key for sample in stream.epoch_samples(epoch=0, worker=0, num_workers=1)]
    expected = [f"{name}/v/{n}" for name, size in SET_SIZES.items() for n in range(0, size, 2)]
    assert sorted(keys) == sorted(expected)


def _never(sample: EncodedSample) -> bool:
    return False


def _refuse(sample: EncodedSample) -> str:
    raise ValueError(f"{sample.key} has no label")


@pytest.mark.parametrize("with_weights", [False, True])
def test_sets_without_any_label_are_refused_instead_of_read_forever(
    root: Path, with_weights: bool
) -> None:
    changes = {} if with_weights else {"weights": None}
    stream = _stream(root, has_label=_never, make_sample=_refuse, **changes)
    with pytest.raises(ValueError, match="has no label"):
        next(iter(stream))
