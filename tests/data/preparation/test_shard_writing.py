import json
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.data.preparation.archive_files import file_contents
from w2v2_mt.data.preparation.shard_writing import (
    ShardSetSummary,
    ShuffledShards,
    Utterance,
    shard_sizes,
    write_meta,
)
from w2v2_mt.data.shards import find_shards, read_shard

# printf 'reader0/chapter/00000\nreader1/chapter/00001' | sha256sum
SHA256_OF_TWO_KEYS = "af210893f004230cfcc72f7a9b975cefdfa8e86de334f5402836e9bab617cecf"


def utterance(number: int, *, num_bytes: int = 50) -> Utterance:
    return Utterance(
        key=f"reader{number % 3}/chapter/{number:05d}",
        speaker_id=f"reader{number % 3}",
        num_frames=1600,
        wav=f"{number:05d}".encode() * (num_bytes // 5),
        labels={"reader_id": f"reader{number % 3}", "speaker_id_idx": None},
    )


def write(
    folder: Path, utterances: Sequence[Utterance], *, seed: int = 1, samples_per_shard: int = 20
) -> ShardSetSummary:
    shards = ShuffledShards(
        name="val",
        folder=folder,
        shard_name="val_shard_%06d.tar",
        samples_per_shard=samples_per_shard,
        seed=seed,
    )
    for each in utterances:
        shards.add(each)
    return shards.finish()


def keys_of_shards(folder: Path) -> list[list[str]]:
    return [
        [sample.key for sample in read_shard(shard)] for shard in find_shards(folder, producer="x")
    ]


@pytest.mark.parametrize(
    ("num_utterances", "sizes"),
    [
        (1, [1]),
        (3, [1, 1, 1]),
        (20, [3, 3, 3, 3, 2, 2, 2, 2]),
        (8000, [1000] * 8),
        (8001, [889] * 9),
    ],
)
def test_shards_are_enough_and_of_equal_size(num_utterances: int, sizes: list[int]) -> None:
    assert shard_sizes(num_utterances, samples_per_shard=1000) == sizes


def test_every_utterance_is_written_once_with_its_facts(tmp_path: Path) -> None:
    utterances = [utterance(number) for number in range(200)]
    write(tmp_path / "val", utterances)
    assert sorted(path.name for path in (tmp_path / "val").iterdir()) == [
        f"val_shard_{index:06d}.tar" for index in range(10)
    ]
    samples = {
        sample.key: sample
        for shard in find_shards(tmp_path / "val", producer="x")
        for sample in read_shard(shard)
    }
    assert set(samples) == {each.key for each in utterances}
    for each in utterances:
        assert samples[each.key].audio == each.wav
        assert samples[each.key].facts == {
            "key": each.key,
            "reader_id": each.speaker_id,
            "speaker_id_idx": None,
            "num_frames": 1600,
            "sampling_rate": 16_000,
        }


def test_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    utterances = [utterance(number) for number in range(50)]
    write(tmp_path / "first", utterances)
    write(tmp_path / "second", utterances[::-1])
    assert file_contents(tmp_path / "first") == file_contents(tmp_path / "second")


def test_a_seed_shuffles_across_and_inside_shards(tmp_path: Path) -> None:
    utterances = [utterance(number) for number in range(200)]
    orders = []
    for seed in (1, 2):
        write(tmp_path / str(seed), utterances, seed=seed)
        shards = keys_of_shards(tmp_path / str(seed))
        assert all(keys != sorted(keys) for keys in shards)
        numbers = [sorted(int(key[-5:]) for key in keys) for keys in shards]
        # Were neighbours kept together, a shard of 20 would span little more than 20 numbers.
        assert all(each[-1] - each[0] > 80 for each in numbers)
        orders.append(shards)
    assert orders[0] != orders[1]


def test_audio_is_not_held_in_memory(tmp_path: Path) -> None:
    num_bytes = 100_000
    tracemalloc.start()
    try:
        shards = ShuffledShards(
            name="val", folder=tmp_path / "val", shard_name="%d.tar", samples_per_shard=100, seed=1
        )
        for number in range(200):
            shards.add(utterance(number, num_bytes=num_bytes))
        shards.finish()
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 20 * num_bytes


def test_the_summary_counts(tmp_path: Path) -> None:
    summary = write(tmp_path / "val", [utterance(0), utterance(1)], seed=7)
    write_meta(tmp_path / "val", summary, further_facts={"speakers": ["reader0", "reader1"]})
    assert json.loads((tmp_path / "val" / "meta.json").read_text()) == {
        "name": "val",
        "num_utterances": 2,
        "num_frames": 3200,
        "hours": 0.0001,
        "num_speakers": 2,
        "num_shards": 2,
        "samples_per_shard": 20,
        "seed": 7,
        "sampling_rate": 16_000,
        "keys_sha256": SHA256_OF_TWO_KEYS,
        "speakers": ["reader0", "reader1"],
    }


def test_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val holds the utterance reader1/chapter/00001 twice"):
        write(tmp_path / "val", [utterance(1), utterance(2), utterance(1)])


def test_a_set_without_utterances_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val holds no utterance"):
        write(tmp_path / "val", [])


def test_shards_of_no_utterances_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="samples_per_shard is 0; it must be at least 1"):
        write(tmp_path / "val", [utterance(1)], samples_per_shard=0)
