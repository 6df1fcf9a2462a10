import io
import json
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import (
    VOXCELEB2_SPEAKERS,
    file_contents,
    noise,
    write_voxceleb2,
    write_zip,
)
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.trials import keys_of_trials, read_trials

TEST_FOLDERS = ("vox2_shards/test", "vox2_shards_all/test", "vox2_shards_hard/test")
LISTS = ("veri_test2.txt", "list_test_all2.txt", "list_test_hard2.txt")


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    write_voxceleb2(tmp_path)
    return tmp_path


def run(data_folder: Path, *arguments: str) -> int:
    shared = ["--data_folder", str(data_folder), "--num_workers", "0"]
    return main(["prepare", "voxceleb2", *shared, *arguments])


def error_of(data_folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(data_folder, *arguments) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert not list(data_folder.glob("vox2*"))
    return errors[0]


def samples_of(folder: Path) -> dict[str, dict]:
    return {
        sample.key: sample.metadata
        for shard in find_shards(folder, producer="x")
        for sample in read_shard(shard)
    }


def test_each_test_utterance_is_stored_once_and_each_list_finds_its_own(data_folder: Path) -> None:
    assert run(data_folder) == 0
    stored: list[str] = []
    for folder, name in zip(TEST_FOLDERS, LISTS, strict=True):
        trials = read_trials(data_folder / folder / "test_trials.txt", producer="x")
        assert trials == read_trials(data_folder / "voxceleb_meta" / name, producer="x")
        found = samples_of(data_folder / folder)
        assert set(found) >= keys_of_trials(trials)
        meta = json.loads((data_folder / folder / "meta.json").read_text())
        assert meta["num_utterances"] == len(found)
        for shard in find_shards(data_folder / folder, producer="x"):
            if not shard.is_symlink():
                stored += [sample.key for sample in read_shard(shard)]
    assert len(stored) == len(set(stored))
    # Each of the original's utterances but one is in its trials; two speakers come from the others.
    assert len(stored) == 11 + 3


def test_links_stay_valid_when_the_data_folder_moves(data_folder: Path, tmp_path: Path) -> None:
    assert run(data_folder) == 0
    moved = tmp_path / "moved"
    moved.mkdir()
    for path in data_folder.glob("vox2*"):
        path.rename(moved / path.name)
    assert all(samples_of(moved / folder) for folder in TEST_FOLDERS)


def test_the_other_speakers_train_and_validate(data_folder: Path) -> None:
    assert run(data_folder, "--num_val_trials", "10") == 0
    train = samples_of(data_folder / "vox2_shards" / "train")
    val = samples_of(data_folder / "vox2_shards" / "val")
    assert len(train) + len(val) == 6 * 12
    assert {entry["speaker_id"]: entry["speaker_id_idx"] for entry in train.values()} == {
        speaker: index for index, speaker in enumerate(sorted(VOXCELEB2_SPEAKERS))
    }
    trials = read_trials(data_folder / "vox2_shards" / "val" / "val_trials.txt", producer="x")
    assert len(trials) == 10
    assert keys_of_trials(trials) <= set(val)


@pytest.mark.parametrize("arguments", [(), ("--limit", "60")])
@pytest.mark.parametrize("list_name", LISTS)
def test_a_training_speaker_in_any_test_list_stops_the_run(
    data_folder: Path,
    capsys: pytest.CaptureFixture[str],
    list_name: str,
    arguments: tuple[str, ...],
) -> None:
    with open(data_folder / "voxceleb_meta" / list_name, "a") as trials:
        for speaker in VOXCELEB2_SPEAKERS:
            trials.write(f"0 {speaker}/video_0/00001.wav id10001/video_0/00001.wav\n")
    error = error_of(data_folder, capsys, *arguments)
    assert "share id0000" in error
    assert list_name in error


def test_aac_archives_are_read_where_there_is_no_wav_archive(
    data_folder: Path, ffmpeg: str
) -> None:
    archives = data_folder / "voxceleb_archives"
    (data_folder / "in.wav").write_bytes(encoded_audio(noise(0, num_samples=8000) // 8))
    command = [ffmpeg, "-loglevel", "error", "-i", "in.wav", "-c:a", "aac", "out.m4a"]
    subprocess.run(command, cwd=data_folder, check=True)
    m4a = (data_folder / "out.m4a").read_bytes()
    with (
        zipfile.ZipFile(archives / "vox2_dev_wav.zip") as converted,
        zipfile.ZipFile(archives / "vox2_dev_aac.zip", "w") as packed,
    ):
        for name in converted.namelist():
            packed.writestr(f"dev/aac/{name.removeprefix('wav/').replace('.wav', '.m4a')}", m4a)
        packed.writestr("dev/aac/id00001/video_0/00009.m4a", m4a[: len(m4a) // 2])
    (archives / "vox2_dev_wav.zip").unlink()
    assert run(data_folder, "--max_rejected", "0.02") == 0
    train = data_folder / "vox2_shards" / "train"
    (first, *_) = read_shard(find_shards(train, producer="x")[0])
    command = [ffmpeg, "-loglevel", "error", "-i", "out.m4a", "-f", "s16le", "-"]
    alone = subprocess.run(command, cwd=data_folder, check=True, capture_output=True).stdout
    samples = soundfile.read(io.BytesIO(first.audio), dtype="int16")[0]
    # Versions of FFmpeg differ by less than the rounding to 16 bit.
    np.testing.assert_allclose(samples, np.frombuffer(alone, dtype=np.int16), rtol=0, atol=1)
    rejected = (data_folder / "vox2_shards" / "rejected.tsv").read_text()
    assert "vox2_dev_aac.zip: dev/aac/id00001/video_0/00009.m4a\t" in rejected


def test_the_test_part_trains_when_asked(data_folder: Path) -> None:
    members = [
        (f"wav/id00017/video_{video}/00001.wav", encoded_audio(noise(video))) for video in range(4)
    ]
    write_zip(data_folder / "voxceleb_archives" / "vox2_test_wav.zip", members)
    with open(data_folder / "voxceleb_meta" / "vox2_meta.csv", "a") as meta:
        meta.write("id00017 ,n0002 ,m ,test \n")
    assert run(data_folder) == 0
    assert "id00017/video_1/00001" not in samples_of(data_folder / "vox2_shards" / "train")
    assert run(data_folder, "--with_test_part", "--overwrite") == 0
    train = samples_of(data_folder / "vox2_shards" / "train")
    assert {entry["speaker_id_idx"] for entry in train.values()} == set(range(7))


def test_only_complete_results_are_in_place(
    data_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = data_folder / "voxceleb_archives" / "vox1_test_wav.zip"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-200])
    assert "vox1_test_wav.zip is corrupt or truncated" in error_of(data_folder, capsys)
    archive.write_bytes(whole)
    assert run(data_folder) == 0
    before = file_contents(data_folder / "vox2_shards")
    assert run(data_folder, "--delete_originals") == 0
    assert "vox2_shards exists already, made with these options." in capsys.readouterr().out
    assert file_contents(data_folder / "vox2_shards") == before
    assert not (data_folder / "voxceleb_archives" / "vox2_dev_wav.zip").exists()
    assert archive.exists()
