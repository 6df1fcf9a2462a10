import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from rich.progress import Progress

from tests.helpers.archive_files import file_contents, noise, options
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.core.workers import Workers
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.manifests.rejections import RejectionAccount
from w2v2_mt.prepare.archives import Piece
from w2v2_mt.prepare.shard_sets import (
    SetWriter,
    ShardSet,
    check_readable,
    place,
    shard_sizes,
    write_metadata,
)
from w2v2_mt.prepare.shard_writer import Utterance

# printf 'reader0/chapter/00000\nreader1/chapter/00001' | sha256sum
SHA256_OF_TWO_KEYS = "af210893f004230cfcc72f7a9b975cefdfa8e86de334f5402836e9bab617cecf"


def write(
    work: Path,
    num_utterances: int,
    *,
    seed: int = 1,
    num_workers: int = 0,
    bad: tuple[int, ...] = (),
) -> ShardSet:
    """A set of noises that lie one behind the other in a file; the bad ones are no audio."""
    work.mkdir(parents=True, exist_ok=True)
    container = work.parent / "container"
    pieces = []
    with open(container, "wb") as file:
        for number in range(num_utterances):
            audio = b"no audio" if number in bad else encoded_audio(noise(number, num_samples=400))
            pieces.append(Piece(container, f"{number:05d}.wav", file.tell(), len(audio)))
            file.write(audio)

    def describe(number: int) -> Utterance:
        return Utterance(
            key=f"reader{number % 3}/chapter/{number:05d}",
            source=f"container: {number:05d}.wav",
            audio=pieces[number],
            labels={"reader_id": f"reader{number % 3}", "speaker_id_idx": None},
        )

    chosen = options(work.parent, seed=seed, samples_per_shard=20)
    with Workers(num_workers) as workers:
        account = RejectionAccount(num_files=num_utterances, max_share=0.05, folder=work)
        writer = SetWriter(work, chosen, workers, account, Progress(disable=True))
        shards = writer.write(
            "val",
            sorted(
                map(describe, range(num_utterances)), key=lambda each: place(each.key, seed=seed)
            ),
            num_utterances=num_utterances,
            folder=work / "val",
            shard_name="val_shard_%06d.tar",
        )
    write_metadata(work / "val", shards, options=chosen, further_metadata={"speakers": ["reader0"]})
    return shards


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


@pytest.mark.usefixtures("run_that_was_killed")
def test_the_worker_of_a_killed_run_writes_no_shard(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        write(tmp_path / "work", 3)
    assert list((tmp_path / "work" / "val").iterdir()) == []


def test_every_utterance_is_written_once_with_its_metadata(tmp_path: Path) -> None:
    write(tmp_path / "work", 200)
    folder = tmp_path / "work" / "val"
    shards = [f"val_shard_{index:06d}.tar" for index in range(10)]
    assert sorted(path.name for path in folder.iterdir()) == [
        "meta.json",
        "utterances.tsv",
        *sorted([*shards, *(f"{shard}.index" for shard in shards)]),
    ]
    samples = {
        sample.key: sample
        for shard in find_shards(folder, producer="x")
        for sample in read_shard(shard)
    }
    assert len(samples) == 200
    for number in range(200):
        sample = samples[f"reader{number % 3}/chapter/{number:05d}"]
        waveform = soundfile.read(io.BytesIO(sample.audio), dtype="int16")[0]
        np.testing.assert_array_equal(waveform, noise(number, num_samples=400))
        assert sample.metadata == {
            "key": sample.key,
            "reader_id": f"reader{number % 3}",
            "speaker_id_idx": None,
            "num_frames": 400,
            "sampling_rate": 16_000,
        }


def test_the_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    write(tmp_path / "none" / "work", 50)
    write(tmp_path / "two" / "work", 50, num_workers=2)
    assert file_contents(tmp_path / "none") == file_contents(tmp_path / "two")


def test_a_seed_shuffles_across_and_inside_shards(tmp_path: Path) -> None:
    orders = []
    for seed in (1, 2):
        write(tmp_path / str(seed) / "work", 200, seed=seed)
        shards = keys_of_shards(tmp_path / str(seed) / "work" / "val")
        assert all(keys != sorted(keys) for keys in shards)
        numbers = [sorted(int(key[-5:]) for key in keys) for keys in shards]
        # Were neighbours kept together, a shard of 20 would span little more than 20 numbers.
        assert all(each[-1] - each[0] > 80 for each in numbers)
        orders.append(shards)
    assert orders[0] != orders[1]


def test_the_counts_of_the_metadata_are_right(tmp_path: Path) -> None:
    write(tmp_path / "work", 2, seed=7)
    meta = json.loads((tmp_path / "work" / "val" / "meta.json").read_text())
    assert meta.pop("version")
    assert meta == {
        "name": "val",
        "num_utterances": 2,
        "num_frames": 800,
        "hours": 0.0,
        "num_speakers": 2,
        "num_shards": 2,
        "num_rejected": 0,
        "num_converted": 0,
        "samples_per_shard": 20,
        "audio_format": "wav",
        "limit": None,
        "strict": False,
        "seed": 7,
        "sampling_rate": 16_000,
        "keys_sha256": SHA256_OF_TWO_KEYS,
        "speakers": ["reader0"],
    }
    heading, *rows = (tmp_path / "work" / "val" / "utterances.tsv").read_text().splitlines()
    assert heading == "key\tspeaker\tnum_samples"
    assert sorted(rows) == [
        "reader0/chapter/00000\treader0\t400",
        "reader1/chapter/00001\treader1\t400",
    ]


def test_speakers_come_from_labels_and_not_from_keys(tmp_path: Path) -> None:
    labels = {"key0": {"speaker_id": "anna  b"}, "key1": {"reader_id": 7}, "key2": {}}
    (tmp_path / "container").write_bytes(audio := encoded_audio(noise(0, num_samples=400)))
    piece = Piece(tmp_path / "container", "0.wav", 0, len(audio))
    utterances = [
        Utterance(key=key, source=key, audio=piece, labels=own) for key, own in labels.items()
    ]
    work, chosen = tmp_path / "work", options(tmp_path)
    work.mkdir()
    with Workers(0) as workers:
        account = RejectionAccount(num_files=3, max_share=0, folder=work)
        writer = SetWriter(work, chosen, workers, account, Progress(disable=True))
        shards = writer.write(
            "val", utterances, num_utterances=3, folder=work / "val", shard_name="%06d.tar"
        )
    assert shards.metadata()["num_speakers"] == 2
    write_metadata(work / "val", shards, options=chosen, further_metadata={})
    rows = (work / "val" / "utterances.tsv").read_text().splitlines()[1:]
    assert rows == ["key0\tanna b\t400", "key1\t7\t400", "key2\t\t400"]


def test_a_set_with_other_keys_than_written_is_not_readable(tmp_path: Path) -> None:
    write(tmp_path / "work", 3)
    folder = tmp_path / "work" / "val"
    check_readable(folder)
    meta = json.loads((folder / "meta.json").read_text())
    other = tmp_path / "other" / "work"
    write(other, 4)
    (folder / "val_shard_000002.tar").write_bytes(
        (other / "val" / "val_shard_000001.tar").read_bytes()
    )
    with pytest.raises(ValueError, match=r"has other utterances than its meta.json counts"):
        check_readable(folder)
    (folder / "meta.json").write_text(json.dumps({**meta, "num_utterances": 4}))
    with pytest.raises(ValueError, match="has 3 shards with 3 utterances, not 3 with 4; pass --ov"):
        check_readable(folder)


def test_bad_files_are_skipped_and_named(tmp_path: Path) -> None:
    shards = write(tmp_path / "work", 40, bad=(3, 17))
    assert len(shards.keys) == 38
    assert "reader0/chapter/00003" not in shards.keys
    rejections = [each for report in shards.reports for each in report.rejections]
    assert sorted(each.file for each in rejections) == [
        "container: 00003.wav",
        "container: 00017.wav",
    ]
    assert all("cannot be decoded" in each.reason for each in rejections)


def test_too_many_bad_files_stop_the_run_with_a_list(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"3 of 40 files .* more than --max_rejected allows \(0.05"
    ):
        write(tmp_path / "work", 40, bad=(3, 17, 18))
    rows = (tmp_path / "work" / "rejected.tsv").read_text().splitlines()
    assert rows[0] == "file\treason"
    assert [row.partition("\t")[0][-9:] for row in rows[1:]] == [
        "00003.wav", "00017.wav", "00018.wav",
    ]  # fmt: skip


def test_finished_shards_are_not_written_again(tmp_path: Path) -> None:
    write(tmp_path / "work", 40)
    shard = tmp_path / "work" / "val" / "val_shard_000003.tar"
    marked = shard.read_bytes() + bytes(512)
    shard.write_bytes(marked)
    (tmp_path / "work" / "val" / "val_shard_000004.tar").unlink()
    before = keys_of_shards(tmp_path / "work" / "val")
    write(tmp_path / "work", 40)
    assert shard.read_bytes() == marked
    assert len(keys_of_shards(tmp_path / "work" / "val")) == len(before) + 1


def test_a_set_without_utterances_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val holds no utterance"):
        write(tmp_path / "work", 0)
