import pickle
import re
from collections import Counter
from collections.abc import Iterable, Iterator
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
from w2v2_mt.data.batching import Memory, dynamic_batches, equal_size_batches
from w2v2_mt.data.encoded_audio import decode, sample_length
from w2v2_mt.data.evaluation_stream import EvaluationStream
from w2v2_mt.data.shards import find_shards
from w2v2_mt.data.streams import TrainingStream
from w2v2_mt.data.transforms import ChunkSelector, select_chunks

NUM_SHARDS, NUM_IN_SHARD = 4, 6
KEYS = [f"{shard}/v/{number}" for shard in range(NUM_SHARDS) for number in range(NUM_IN_SHARD)]


def _keys_only(samples: Iterable[EncodedSample], rng: Random, memory: Memory) -> Iterator[str]:
    for sample in samples:
        yield sample.key


def _with_draw(keys: Iterable[str], rng: Random, memory: Memory) -> Iterator[tuple[str, float]]:
    for key in keys:
        yield key, rng.random()


def _unchanged(sample: Any) -> Any:
    return sample


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards")
    for start in range(0, len(KEYS), NUM_IN_SHARD):
        keys = KEYS[start : start + NUM_IN_SHARD]
        utterances = [Utterance(key=key, waveform=np.zeros(8), metadata={}) for key in keys]
        write_shard(folder / f"s_{start:06d}.tar", utterances)
    return find_shards(folder, producer="x.sh")


def _training(shards: list[Path], **changes: Any) -> TrainingStream:
    settings: dict[str, Any] = {
        "shards": shards,
        "shuffle_buffer_size": 5,
        "choosing": [_keys_only],
        "batching": partial(equal_size_batches, batch_size=1),
        "make_sample": _unchanged,
        "collate": tuple,
        "seed": 1,
        "num_batches_done": 0,
        "rank": 0,
        "world_size": 1,
    }
    return TrainingStream(**settings | changes)


def _evaluation(shards: list[Path], **changes: Any) -> EvaluationStream:
    settings: dict[str, Any] = {
        "shards": shards,
        "choosing": [_keys_only],
        "batching": partial(equal_size_batches, batch_size=1),
        "make_sample": _unchanged,
        "collate": tuple,
        "only_keys": None,
        "max_num_utterances": None,
        "max_num_of_speaker": None,
        "rank": 0,
        "world_size": 1,
    }
    return EvaluationStream(**settings | changes)


def _loaded(stream: Any, num_workers: int, num_batches: int | None = None) -> list[str]:
    """The keys of the first batches of a real DataLoader."""
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    return [key for batch in islice(loader, num_batches) for key in batch]


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_all_readers_together_read_each_utterance_once_an_epoch(
    shards: list[Path], num_workers: int, world_size: int
) -> None:
    # All shards hold equally much, so all readers finish an epoch after equally many batches.
    num_in_epoch = len(KEYS) // world_size
    keys = [
        _loaded(_training(shards, rank=rank, world_size=world_size), num_workers, 2 * num_in_epoch)
        for rank in range(world_size)
    ]
    first = [key for own in keys for key in own[:num_in_epoch]]
    second = [key for own in keys for key in own[num_in_epoch:]]
    assert sorted(first) == sorted(second) == sorted(KEYS)
    assert first != second


@pytest.mark.parametrize("num_readers", [1, 2, 3, 4])
def test_uneven_readers_share_out_each_epoch_too(shards: list[Path], num_readers: int) -> None:
    stream = _training(shards)
    for epoch in range(3):
        keys = [
            key
            for reader in range(num_readers)
            for key in stream.epoch_samples(epoch=epoch, worker=reader, num_workers=num_readers)
        ]
        assert sorted(keys) == sorted(KEYS)


def test_a_batch_crosses_the_border_of_epochs_and_nothing_is_dropped(shards: list[Path]) -> None:
    stream = _training(shards, batching=partial(equal_size_batches, batch_size=7))
    batches = list(islice(stream, 24))  # 24 x 7 = 7 epochs of 24
    assert {len(batch) for batch in batches} == {7}
    assert Counter(key for batch in batches for key in batch) == Counter(7 * KEYS)


def test_a_seed_fixes_everything_and_another_seed_changes_it(shards: list[Path]) -> None:
    def drawn(seed: int) -> list[Any]:
        return _loaded(_training(shards, seed=seed, choosing=[_keys_only, _with_draw]), 2, 60)

    assert drawn(1) == drawn(1)
    assert [key for key, _ in drawn(1)] != [key for key, _ in drawn(2)]
    assert {draw for _, draw in drawn(1)}.isdisjoint(draw for _, draw in drawn(2))


def test_the_order_of_shards_changes_from_epoch_to_epoch(shards: list[Path]) -> None:
    stream = _training(shards, shuffle_buffer_size=1)

    def order(epoch: int) -> str:
        keys = stream.epoch_samples(epoch=epoch, worker=0, num_workers=1)
        return "".join(dict.fromkeys(key[0] for key in keys))

    assert len({order(epoch) for epoch in range(10)}) > 3
    assert order(3) == order(3)


def test_a_reader_draws_differently_from_its_neighbour_and_from_epoch_to_epoch(
    shards: list[Path],
) -> None:
    stream = _training(shards, choosing=[_keys_only, _with_draw])
    draws = [
        next(stream.epoch_samples(epoch=epoch, worker=reader, num_workers=2))[1]
        for epoch in range(3)
        for reader in range(2)
    ]
    assert len(set(draws)) == 6


@pytest.mark.parametrize("num_workers", [0, 1, 2])
@pytest.mark.parametrize("num_batches_done", [1, 2, 5, 17, 40])
def test_a_stream_continues_with_the_batches_that_would_have_followed(
    uneven_shards: list[Path], num_workers: int, num_batches_done: int
) -> None:
    num_batches = num_batches_done + 20
    whole = _decoded_batches(uneven_shards, num_workers, num_batches)
    rest = _decoded_batches(uneven_shards, num_workers, 20, num_batches_done=num_batches_done)
    assert rest == whole[num_batches_done:]
    assert len({key for batch in rest for key, _ in batch}) > NUM_IN_SHARD


def test_batches_that_were_given_are_not_decoded_again(uneven_shards: list[Path]) -> None:
    decoded = []

    def record(sample: EncodedSample) -> EncodedSample:
        decoded.append(sample.key)
        return sample

    stream = _training(uneven_shards, choosing=[], make_sample=record, num_batches_done=30)
    batch = next(iter(stream))
    assert decoded == [sample.key for sample in batch]


@pytest.fixture(scope="module")
def uneven_shards(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of different sizes, with utterances of different lengths, each unlike the others."""
    folder = tmp_path_factory.mktemp("uneven")
    rng = np.random.default_rng(0)
    for shard in range(NUM_SHARDS):
        utterances = [
            Utterance(
                key=f"{shard}/v/{number}",
                waveform=(waveform := rng.uniform(-1, 1, length)),
                metadata={"num_frames": len(waveform)},
            )
            for number, length in enumerate(rng.integers(1000, 30_000, NUM_IN_SHARD + 2 * shard))
        ]
        write_shard(folder / f"s_{shard:06d}.tar", utterances)
    return find_shards(folder, producer="x.sh")


def _decoded_batches(
    shards: list[Path], num_workers: int, num_batches: int, num_batches_done: int = 0
) -> list[list[tuple[str, bytes]]]:
    """Key and samples of each drawn chunk, batches cut by length."""
    selector = ChunkSelector(
        desired_chunk_length_sec=0.5, selection_strategy="random", match_speech_lengths=False
    )
    stream = _training(
        shards,
        choosing=[partial(select_chunks, selector=selector, shuffle_buffer_size=5)],
        batching=partial(
            dynamic_batches, max_num_samples=20_000, max_queue_size=7, length=sample_length
        ),
        make_sample=_key_and_waveform,
        collate=list,
        num_batches_done=num_batches_done,
    )
    loader = DataLoader(stream, batch_size=None, num_workers=num_workers)
    return list(islice(loader, num_batches))


def _key_and_waveform(sample: EncodedSample) -> tuple[str, bytes]:
    return sample.key, decode(sample).numpy().tobytes()


def test_the_order_of_one_set_is_that_of_earlier_versions(shards: list[Path]) -> None:
    keys = list(_training(shards).epoch_samples(epoch=2, worker=1, num_workers=2))
    assert "".join(key[0] + key[-1] for key in keys) == "000102053104303334320335"


def test_fewer_shards_than_readers_is_an_error_with_the_numbers(shards: list[Path]) -> None:
    stream = _training(shards, world_size=3)
    message = r"must hold at least 6 shards, not 4, .* \(3 processes with 2 each\)\. Lower"
    with pytest.raises(ValueError, match=message):
        stream.check_num_workers(6)
    with pytest.raises(ValueError, match="must hold at least 5 shards, not 4"):
        next(iter(_training(shards, world_size=5)))


def test_an_error_of_a_stage_comes_out_of_a_worker(tmp_path: Path) -> None:
    (tmp_path / "s.tar").write_bytes(b"\0" * 1000)
    message = ""
    # pytest.raises would keep the traceback, and with it the loader, whose workers then linger.
    try:
        _loaded(_training([tmp_path / "s.tar"]), 1, 1)
    except ValueError as error:
        message = str(error)
    assert "s.tar is truncated or corrupt" in message


@pytest.mark.parametrize("make", [_training, _evaluation])
def test_a_stream_can_be_sent_to_another_process(shards: list[Path], make: Any) -> None:
    stream = make(shards)
    copy = pickle.loads(pickle.dumps(stream))
    assert list(islice(copy, 10)) == list(islice(stream, 10))


@pytest.mark.parametrize("world_size", [1, 2])
@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_evaluation_reads_each_utterance_once_with_any_number_of_readers(
    shards: list[Path], num_workers: int, world_size: int
) -> None:
    keys = [
        key
        for rank in range(world_size)
        for key in _loaded(_evaluation(shards[:1], rank=rank, world_size=world_size), num_workers)
    ]
    assert sorted(keys) == sorted(KEYS[:NUM_IN_SHARD])


def test_evaluation_keeps_the_order_and_the_batch_size(shards: list[Path]) -> None:
    stream = _evaluation(shards, batching=partial(equal_size_batches, batch_size=10))
    assert list(stream) == list(stream) == [tuple(KEYS[i : i + 10]) for i in (0, 10, 20)]


def test_a_reader_of_evaluation_passes_on_its_own_utterances_only(shards: list[Path]) -> None:
    stream = _evaluation(shards, rank=1, world_size=3)
    assert [key for (key,) in stream] == KEYS[1::3]


def test_a_key_in_two_folders_is_read_once(shards: list[Path]) -> None:
    keys = _loaded(_evaluation([*shards[:2], *shards]), 0)
    assert keys == KEYS


@pytest.mark.parametrize("num_workers", [0, 2])
def test_only_the_keys_asked_for_are_read(shards: list[Path], num_workers: int) -> None:
    wanted = frozenset(KEYS[3:9:2])
    assert sorted(_loaded(_evaluation(shards, only_keys=wanted), num_workers)) == sorted(wanted)


def test_reading_stops_when_all_keys_are_found(shards: list[Path]) -> None:
    missing_shard = Path("nowhere.tar")
    stream = _evaluation([shards[0], missing_shard], only_keys=frozenset(KEYS[:3]))
    assert [key for (key,) in stream] == KEYS[:3]
    with pytest.raises(ValueError, match=r"^shard nowhere\.tar cannot be read \(No such file"):
        list(_evaluation([shards[0], missing_shard], only_keys=frozenset({"none"})))


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_key_that_is_nowhere_is_an_error(shards: list[Path], world_size: int) -> None:
    only_keys = frozenset([*KEYS[:3], "id1/x/1", "id1/x/2"])
    message = (
        rf"^The shards of {re.escape(str(shards[0].parent))} must hold all utterances of the trial "
        r"lists, but 2 are missing, first id1/x/1\. Write these shards and lists again\.$"
    )
    for rank in range(world_size):
        with pytest.raises(ValueError, match=message):
            list(_evaluation(shards, only_keys=only_keys, rank=rank, world_size=world_size))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("limit", [1, 8, 24, 100])
def test_a_limit_keeps_the_first_utterances(
    shards: list[Path], limit: int, num_workers: int
) -> None:
    keys = _loaded(_evaluation(shards, max_num_utterances=limit), num_workers)
    assert sorted(keys) == sorted(KEYS[:limit])
