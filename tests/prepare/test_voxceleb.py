import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.archive_files import (
    file_contents,
    noise,
    write_voxceleb,
    write_zip,
)
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.trials import keys_of_trials, read_trials

PROJECT = Path(__file__).resolve().parents[2]
SPEAKERS = {f"id1000{number}": "fm"[number % 2] for number in range(1, 7)}
TEST_SPEAKERS = {"id10270": "f", "id10271": "m"}
SETS = ("train", "val", "test")


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    write_voxceleb(tmp_path, dev_speakers=SPEAKERS, test_speakers=TEST_SPEAKERS)
    return tmp_path


def run(data_folder: Path, *arguments: str) -> int:
    shared = ["--data_folder", str(data_folder), "--num_workers", "0"]
    return main(["prepare", "voxceleb1", *shared, *arguments])


def metadata_of(data_folder: Path) -> dict[str, dict[str, dict]]:
    return {
        name: {
            sample.key: sample.metadata
            for shard in find_shards(data_folder / "vox1_shards" / name, producer="x")
            for sample in read_shard(shard)
        }
        for name in SETS
    }


def error_of(data_folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(data_folder, *arguments) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert not (data_folder / "vox1_shards").exists()
    return errors[0]


def test_files_speakers_and_metadata_reach_the_right_set(data_folder: Path) -> None:
    assert run(data_folder) == 0
    metadata = metadata_of(data_folder)
    sizes = {name: len(keys) for name, keys in metadata.items()}
    # 4 videos of 3 files each; two files of the test speakers are in no trial.
    assert sizes["test"] == 2 * 12 - 2
    assert sizes["train"] + sizes["val"] == 6 * 12
    assert {entry["speaker_id"] for entry in metadata["train"].values()} == set(SPEAKERS)
    assert {entry["speaker_id"] for entry in metadata["test"].values()} == set(TEST_SPEAKERS)
    assert not set(metadata["train"]) & set(metadata["val"])
    for name in SETS:
        for key, entry in metadata[name].items():
            speaker, video, number = key.split("/")
            assert entry == {
                "key": key,
                "speaker_id": speaker,
                "video_id": video,
                "utterance_id": number,
                "speaker_id_idx": None if name == "test" else sorted(SPEAKERS).index(speaker),
                "num_frames": 1600,
                "sampling_rate": 16_000,
            }


def test_meta_and_shard_names_describe_each_set(data_folder: Path) -> None:
    assert run(data_folder) == 0
    for name, num_speakers in (("train", 6), ("val", 6), ("test", 2)):
        folder = data_folder / "vox1_shards" / name
        meta = json.loads((folder / "meta.json").read_text())
        shards = [shard.name for shard in find_shards(folder, producer="x")]
        assert shards == [f"{name}_shard_{index:06d}.tar" for index in range(8)]
        assert meta["num_shards"] == 8
        assert meta["num_utterances"] == len(metadata_of(data_folder)[name])
        assert meta["num_speakers"] == num_speakers
        assert meta.get("speakers") == (sorted(SPEAKERS) if name == "train" else None)


def test_trials_are_over_the_utterances_of_their_set(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data_folder) == 0
    assert "has no more pairs (asked for: 5000)" in capsys.readouterr().out
    metadata = metadata_of(data_folder)
    for name in ("val", "test"):
        path = data_folder / "vox1_shards" / name / f"{name}_trials.txt"
        assert ".wav" not in path.read_text()
        trials = read_trials(path, producer="x")
        assert keys_of_trials(trials) == set(metadata[name])
    original = read_trials(data_folder / "voxceleb_meta" / "veri_test2.txt", producer="x")
    assert trials == original


def test_different_speakers_validate_without_an_index(data_folder: Path) -> None:
    assert run(data_folder, "--val_split_mode", "different", "--num_val_trials", "10") == 0
    metadata = metadata_of(data_folder)
    val_speakers = {entry["speaker_id"] for entry in metadata["val"].values()}
    train_speakers = {entry["speaker_id"] for entry in metadata["train"].values()}
    assert val_speakers | train_speakers == set(SPEAKERS)
    assert not val_speakers & train_speakers
    assert {entry["speaker_id_idx"] for entry in metadata["val"].values()} == {None}
    indices = {entry["speaker_id_idx"] for entry in metadata["train"].values()}
    assert indices == set(range(len(train_speakers)))
    trials = read_trials(data_folder / "vox1_shards" / "val" / "val_trials.txt", producer="x")
    assert len(trials) == 10


def test_the_same_seed_writes_the_same_bytes(data_folder: Path) -> None:
    contents = []
    for arguments in ([], ["--num_workers", "2"], ["--seed", "2"]):
        shutil.rmtree(data_folder / "vox1_shards", ignore_errors=True)
        assert run(data_folder, *arguments) == 0
        contents.append(file_contents(data_folder / "vox1_shards"))
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]
    assert contents[0]["val/val_trials.txt"] != contents[2]["val/val_trials.txt"]
    assert contents[0]["train/utterances.tsv"] != contents[2]["train/utterances.tsv"]


def test_a_limit_takes_whole_speakers_and_fewer_trials(data_folder: Path) -> None:
    assert run(data_folder, "--limit", "48") == 0
    metadata = metadata_of(data_folder)
    assert len(metadata["train"]) + len(metadata["val"]) == 48
    assert len({entry["speaker_id"] for entry in metadata["train"].values()}) == 4


@pytest.mark.parametrize("arguments", [(), ("--limit", "48")])
def test_a_training_speaker_in_a_trial_stops_the_run_also_where_a_limit_leaves_it_out(
    data_folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    path = data_folder / "voxceleb_meta" / "veri_test2.txt"
    lines = [f"1 {name}/video_0/00001.wav {name}/video_1/00001.wav" for name in SPEAKERS]
    path.write_text(path.read_text() + "\n".join(lines))
    error = error_of(data_folder, capsys, *arguments)
    assert "train and veri_test2.txt share id1000" in error
    assert not list(data_folder.glob(".*/vox1_shards"))


def test_a_trial_with_itself_stops_the_run(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(data_folder / "voxceleb_meta" / "veri_test2.txt", "a") as trial_list:
        trial_list.write("1 id10270/video_0/00001.wav id10270/video_0/00001.wav\n")
    error = error_of(data_folder, capsys)
    assert "veri_test2.txt has a trial of id10270/video_0/00001 with itself" in error


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--num_val_trials", "7"), "--num_val_trials is 7; it must be an even number"),
        (("--val_fraction", "2"), "--val_fraction is 2.0; it must be above 0"),
        (("--limit", "12"), "has no two utterances of one speaker"),
    ],
)
def test_an_impossible_validation_split_is_reported_before_audio_is_written(
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    assert complaint in error_of(data_folder, capsys, *arguments)
    assert not list(data_folder.glob(".*/vox1_shards"))


def test_a_limit_counts_the_rejected_among_what_is_wanted(data_folder: Path) -> None:
    archive = data_folder / "voxceleb_archives" / "vox1_dev_wav.zip"
    with zipfile.ZipFile(archive, "a") as members:
        for speaker in SPEAKERS:
            members.writestr(f"twice/{speaker}/video_0/00001.wav", encoded_audio(noise(1)))
    # Of 48 + 22 utterances and 4 speakers, 4 / 74 are rejected, of the corpus it were 6 / 102.
    assert run(data_folder, "--limit", "48", "--max_rejected", "0.053") == 1
    assert run(data_folder, "--limit", "48", "--max_rejected", "0.055") == 0
    shards = data_folder / "vox1_shards"
    metas = [json.loads((shards / name / "meta.json").read_text()) for name in SETS]
    assert sum(meta["num_rejected"] for meta in metas) == 4
    assert len((shards / "rejected.tsv").read_text().splitlines()) == 1 + 4


def test_a_few_bad_files_are_listed_and_the_command_continues(data_folder: Path) -> None:
    archive = data_folder / "voxceleb_archives" / "vox1_dev_wav.zip"
    float_wav = encoded_audio(np.full(1600, np.nan, dtype=np.float32), subtype="FLOAT")
    with zipfile.ZipFile(archive, "a") as members:
        members.writestr("wav/id10001/video_0/00007.wav", b"")
        members.writestr("wav/id10001/video_0/00008.wav", float_wav)
        members.writestr("other/wav/id10002/video_0/00001.wav", encoded_audio(noise(1)))
        members.writestr("wav/id10001/video_0/00009.wav", encoded_audio(noise(1)))
        offset = members.getinfo("wav/id10001/video_0/00009.wav").header_offset
    content = bytearray(archive.read_bytes())
    content[offset + 200] ^= 1  # within the audio, which its checksum tells
    archive.write_bytes(content)
    assert run(data_folder, "--max_rejected", "0.1") == 0
    lines = (data_folder / "vox1_shards" / "rejected.tsv").read_text().splitlines()
    rows = dict(line.split("\t") for line in lines[1:])
    prefix = "vox1_dev_wav.zip: wav/id10001/video_0"
    assert set(rows) == {
        f"{prefix}/00007.wav",
        f"{prefix}/00008.wav",
        f"{prefix}/00009.wav",
        "vox1_dev_wav.zip: other/wav/id10002/video_0/00001.wav",
    }
    assert "holds NaN" in rows[f"{prefix}/00008.wav"]
    assert "checksum is wrong" in rows[f"{prefix}/00009.wav"]
    assert "id10002/video_0/00001 is that of an earlier file" in "".join(lines)
    metadata = metadata_of(data_folder)
    assert len(metadata["train"]) + len(metadata["val"]) == 6 * 12


def test_a_rejected_file_that_a_trial_names_stops_the_run(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(data_folder / "voxceleb_archives" / "vox1_test_wav.zip", "a") as members:
        members.writestr("wav/id10270/video_9/00001.wav", b"no audio")
    with open(data_folder / "voxceleb_meta" / "veri_test2.txt", "a") as trial_list:
        trial_list.write("1 id10270/video_0/00001.wav id10270/video_9/00001.wav\n")
    assert run(data_folder, "--max_rejected", "0.1") == 1
    error = capsys.readouterr().err
    assert "veri_test2.txt names id10270/video_9/00001, which is rejected as unfit" in error


def test_a_speaker_without_a_sex_is_one_sentence(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meta = data_folder / "voxceleb_meta" / "vox1_meta.csv"
    lines = [line for line in meta.read_text().splitlines() if "id10003" not in line]
    meta.write_text("\n".join(lines))
    assert "does not name the speaker id10003" in error_of(data_folder, capsys)


@pytest.mark.parametrize("level", ["wav/{speaker}/00001.wav", "{speaker}/00001.wav"])
def test_a_missing_folder_level_is_not_blamed_on_the_meta_file(
    data_folder: Path, capsys: pytest.CaptureFixture[str], level: str
) -> None:
    members = [(level.format(speaker=speaker), encoded_audio(noise(0))) for speaker in SPEAKERS]
    write_zip(data_folder / "voxceleb_archives" / "vox1_dev_wav.zip", members)
    error = error_of(data_folder, capsys)
    assert "<speaker>/<video>" in error
    assert "use the official" in error
    assert "download" not in error


@pytest.mark.parametrize("part", ["dev", "test"])
@pytest.mark.parametrize("name", ["readme.txt", "._id10001/video_0/1.wav", "aac/id1/v/1.m4a"])
def test_an_archive_without_usable_audio_is_named_with_advice(
    data_folder: Path, capsys: pytest.CaptureFixture[str], part: str, name: str
) -> None:
    archive = data_folder / "voxceleb_archives" / f"vox1_{part}_wav.zip"
    write_zip(archive, [(name, encoded_audio(noise(0)))])
    error = error_of(data_folder, capsys)
    assert error.startswith(f"Error: {archive} holds no audio file, by the suffixes .3gp, ")
    assert error.endswith(" .wma. Get the official archive.")
    assert ".m4a" not in error
    assert "speaker" not in error


def test_an_archive_of_broken_audio_is_reported_with_the_list_of_it(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [f"wav/{speaker}/v{video}/1.wav" for speaker in SPEAKERS for video in range(3)]
    archive = data_folder / "voxceleb_archives" / "vox1_dev_wav.zip"
    write_zip(archive, [(name, b"no audio") for name in names])
    error = error_of(data_folder, capsys, "--max_rejected", "1")
    assert "are rejected so far, so that no utterance of train is left, the first being" in error
    listed = error.partition("); ")[2].partition(" lists them, so get better archives")[0]
    assert "vox1_dev_wav.zip: wav/id1000" in Path(listed).read_text()


def test_files_that_are_passed_over_are_counted(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = data_folder / "voxceleb_archives" / "vox1_dev_wav.zip"
    with zipfile.ZipFile(archive, "a") as members:
        for name in ("wav/.DS_Store", "wav/id10001/video_0/00001.m4a"):
            members.writestr(name, b"")
    assert run(data_folder) == 0
    sentence = "Passed over in VoxCeleb1: 2 files, by their names; the first is wav/.DS_Store."
    assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(
    "trial",
    [
        "1 id10270/video_0/00001 id10271/video_0/00001",
        "0 id10270/video_0/00001 id10270/video_1/00001",
    ],
)
def test_a_trial_whose_label_contradicts_its_keys_stops_the_run(
    data_folder: Path, capsys: pytest.CaptureFixture[str], trial: str
) -> None:
    with open(data_folder / "voxceleb_meta" / "veri_test2.txt", "a") as trial_list:
        trial_list.write(f"{trial}\n")
    assert f"veri_test2.txt has the trial '{trial}', whose label" in error_of(data_folder, capsys)


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("voxceleb_archives/vox1_dev_wav.zip", "there is no "),
        ("voxceleb_meta/vox1_meta.csv", "there is no "),
        ("voxceleb_meta/veri_test2.txt", "there is no "),
    ],
)
def test_a_missing_file_is_one_sentence(
    data_folder: Path, capsys: pytest.CaptureFixture[str], missing: str, complaint: str
) -> None:
    (data_folder / missing).unlink()
    error = error_of(data_folder, capsys)
    assert complaint in error
    assert missing in error


def test_a_truncated_archive_is_one_sentence(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = data_folder / "voxceleb_archives" / "vox1_test_wav.zip"
    archive.write_bytes(archive.read_bytes()[:-200])
    assert "vox1_test_wav.zip is corrupt or truncated" in error_of(data_folder, capsys)


def test_a_trial_without_a_file_is_one_sentence(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with open(data_folder / "voxceleb_meta" / "veri_test2.txt", "a") as trial_list:
        trial_list.write("1 id10270/video_0/00001.wav id10270/video_9/00001.wav\n")
    error = error_of(data_folder, capsys)
    assert "names id10270/video_9/00001, which no archive holds" in error


def test_bad_audio_is_named_with_its_archive(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_zip(
        data_folder / "voxceleb_archives" / "vox1_dev_wav.zip",
        [
            (f"wav/{speaker}/video_{video}/00001.wav", encoded_audio(noise(0), sample_rate_hz=8000))
            for speaker in SPEAKERS
            for video in range(3)
        ],
    )
    error = error_of(data_folder, capsys, "--strict")
    assert "vox1_dev_wav.zip: wav/id1000" in error
    assert "it is not 16 kHz mono, which --strict demands" in error


@pytest.mark.programs("bash", "dirname")
def test_the_script_prepares_what_lies_in_the_data_folder(data_folder: Path) -> None:
    finished = subprocess.run(
        [PROJECT / "scripts/data/voxceleb/produce_vox1_train_val_test.sh", "--seed", "3"],
        env={**os.environ, "DATA_FOLDER": str(data_folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "test: 22 trials." in finished.stdout
    meta = json.loads((data_folder / "vox1_shards" / "val" / "meta.json").read_text())
    assert meta["seed"] == 3
