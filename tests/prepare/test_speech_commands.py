"""The preparation of Speech Commands: sets, trials, noises, and what is wrong with an archive."""

import io
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import (
    Members,
    file_contents,
    speech_commands_members,
    write_tar_gz,
    write_zip,
)
from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.data.trials import keys_of_trials, read_trials
from w2v2_mt.prepare.speech_commands_archive import official_set

PROJECT = Path(__file__).resolve().parents[2]
SETS = {"train": ["0a0b", "1c1d", "2e2f"], "val": ["3a3b", "5a5b"], "test": ["4c4d", "6a6b"]}
MEMBERS = speech_commands_members(SETS)


def write_archive(data_folder: Path, members: Members = MEMBERS, *, is_mini: bool = False) -> Path:
    folder = data_folder / "speech_commands"
    if is_mini:
        return write_zip(folder / "mini_speech_commands.zip", members)
    return write_tar_gz(folder / "speech_commands_v0.02.tar.gz", members)


def run(data_folder: Path, *arguments: str) -> int:
    shared = ["--data_folder", str(data_folder), "--num_workers", "0"]
    return main(["prepare", "speech_commands", *shared, *arguments])


def error_of(data_folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert run(data_folder, *arguments) == 1
    (error,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("Error: ")]
    return error


def samples_of(folder: Path) -> dict[str, tuple[dict[str, Any], bytes]]:
    return {
        sample.key: (sample.metadata, sample.audio_file())
        for shard in find_shards(folder, producer="x")
        for sample in read_shard(shard)
    }


def test_each_utterance_has_its_word_its_speaker_and_its_set(tmp_path: Path) -> None:
    write_archive(tmp_path)
    assert run(tmp_path) == 0
    shards = tmp_path / "speech_commands_shards"
    audio = dict(MEMBERS)
    for name, speakers in SETS.items():
        samples = samples_of(shards / name)
        assert len(samples) == 4 * len(speakers)
        for key, (metadata, content) in samples.items():
            word, _, rest = key.partition("/")
            assert metadata["transcription"] == word.upper()
            assert metadata["speaker_id"] == rest.partition("_")[0]
            expected = soundfile.read(io.BytesIO(audio[f"./{key}.wav"]), dtype="int16")[0]
            found = soundfile.read(io.BytesIO(content), dtype="int16")[0]
            np.testing.assert_array_equal(found, expected)
            index = metadata.get("speaker_id_idx")
            assert index == (speakers.index(metadata["speaker_id"]) if name == "train" else None)
        meta = json.loads((shards / name / "meta.json").read_text())
        assert (meta["num_utterances"], meta["num_speakers"]) == (len(samples), len(speakers))
        assert meta["letter_counts"]["Y"] == 2 * len(speakers)
    assert json.loads((shards / "train" / "meta.json").read_text())["speakers"] == SETS["train"]
    vocabulary = json.loads((shards / "vocabulary.json").read_text())
    assert list(vocabulary)[:5] == ["<pad>", "<s>", "</s>", "<unk>", "|"]
    assert len(vocabulary) == 32
    page = (shards / "statistics.html").read_text()
    assert all(name in page for name in SETS)


def test_trials_are_over_the_speakers_of_a_set(tmp_path: Path) -> None:
    write_archive(tmp_path)
    assert run(tmp_path, "--num_trials", "10") == 0
    for name in ("val", "test"):
        folder = tmp_path / "speech_commands_shards" / name
        trials = read_trials(folder / f"{name}_trials.txt", producer="x")
        assert [trial.same_speaker for trial in trials].count(True) == 5
        assert len(trials) == 10
        assert keys_of_trials(trials) <= samples_of(folder).keys()
        speaker = {key: metadata["speaker_id"] for key, (metadata, _) in samples_of(folder).items()}
        for trial in trials:
            pair = {speaker[trial.left_key], speaker[trial.right_key]}
            assert trial.same_speaker == (len(pair) == 1)


def test_noises_are_kept_as_they_are(tmp_path: Path) -> None:
    write_archive(tmp_path)
    assert run(tmp_path) == 0
    noises = file_contents(tmp_path / "speech_commands_shards" / "noise")
    assert noises == {"hum.wav": dict(MEMBERS)["./_background_noise_/hum.wav"]}


def test_the_mini_archive_is_split_by_the_rule_of_the_corpus(tmp_path: Path) -> None:
    speakers = [f"{number:08x}" for number in range(60)]
    members = speech_commands_members(
        {"all": speakers}, prefix="mini_speech_commands/", with_lists=False
    )
    write_archive(tmp_path, members, is_mini=True)
    assert run(tmp_path) == 0
    shards = tmp_path / "speech_commands_shards"
    found = {
        metadata["speaker_id"]: name
        for name in ("train", "val", "test")
        for metadata, _ in samples_of(shards / name).values()
    }
    assert found == {speaker: official_set(speaker) for speaker in speakers}
    assert set(found.values()) == {"train", "val", "test"}
    assert not (shards / "noise").exists()


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    write_archive(tmp_path)
    shards = tmp_path / "speech_commands_shards"
    contents = []
    for arguments in ([], ["--num_workers", "2"], ["--seed", "2"]):
        shutil.rmtree(shards, ignore_errors=True)
        assert run(tmp_path, *arguments) == 0
        contents.append(file_contents(shards))
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_shards_are_made_once_and_replaced_only_if_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_archive(tmp_path)
    assert run(tmp_path) == 0
    before = file_contents(tmp_path / "speech_commands_shards")
    assert run(tmp_path) == 0
    assert "exists already, made with these options" in capsys.readouterr().out
    assert "exists already, made from other" in error_of(tmp_path, capsys, "--seed", "2")
    assert file_contents(tmp_path / "speech_commands_shards") == before
    assert run(tmp_path, "--seed", "2", "--overwrite", "--delete_originals") == 0
    assert not archive.exists()
    assert len(samples_of(tmp_path / "speech_commands_shards" / "train")) == 12


def test_the_archive_is_named_if_there_are_two_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(tmp_path, capsys)
    assert "speech_commands_v0.02.tar.gz" in error
    assert "run scripts/download/download_speech_commands.sh or pass --archive" in error
    archive = write_archive(tmp_path)
    write_archive(tmp_path, is_mini=True)
    assert "has two archives" in error_of(tmp_path, capsys)
    assert run(tmp_path, "--archive", str(archive)) == 0
    missing = str(tmp_path / "none.zip")
    assert f"--archive ({missing}) must exist" in error_of(tmp_path, capsys, "--archive", missing)


def test_a_speaker_in_two_sets_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # A file that no list names is for training.
    members = [*MEMBERS, ("./no/3a3b_nohash_9.wav", dict(MEMBERS)["./no/3a3b_nohash_0.wav"])]
    write_archive(tmp_path, members)
    error = error_of(tmp_path, capsys)
    assert "speaker '3a3b' is in 2 sets" in error
    assert not (tmp_path / "speech_commands_shards").exists()


@pytest.mark.parametrize(
    ("content", "complaint"),
    [(b"not an archive", "is corrupt or truncated"), (b"", "is corrupt or truncated")],
)
def test_a_corrupt_archive_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, complaint: str
) -> None:
    write_archive(tmp_path).write_bytes(content)
    assert complaint in error_of(tmp_path, capsys)


def test_a_file_that_is_not_audio_is_rejected(tmp_path: Path) -> None:
    members = [
        (name, b"text" if name.endswith("yes/0a0b_nohash_0.wav") else content)
        for name, content in MEMBERS
    ]
    write_archive(tmp_path, members)
    assert run(tmp_path, "--max_rejected", "0.1") == 0
    (row,) = (tmp_path / "speech_commands_shards" / "rejected.tsv").read_text().splitlines()[1:]
    assert row.startswith("speech_commands_v0.02.tar.gz: ./yes/0a0b_nohash_0.wav\t")
    assert len(samples_of(tmp_path / "speech_commands_shards" / "train")) == 11


@pytest.mark.programs("bash", "dirname")
def test_the_script_prepares_what_lies_in_the_data_folder(tmp_path: Path) -> None:
    write_archive(tmp_path)
    subprocess.run(
        [PROJECT / "scripts/data/speech_commands/produce_shards.sh", "--limit", "8"],
        env={**os.environ, "DATA_FOLDER": "."},
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    meta = json.loads((tmp_path / "speech_commands_shards" / "train" / "meta.json").read_text())
    assert meta["num_utterances"] == 8


@pytest.fixture(scope="module")
def real_shards(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("data")
    (folder / "speech_commands").symlink_to(shared_folder / "data" / "speech_commands")
    assert run(folder) == 0
    yield folder / "speech_commands_shards"
    shutil.rmtree(folder)


def test_real_archives_become_the_counts_of_their_manifest(
    real_shards: Path, shared_folder: Path
) -> None:
    manifest = json.loads(
        (shared_folder / "data" / "speech_commands" / "manifest.json").read_text()
    )
    speakers: dict[str, set[str]] = {}
    words: set[str] = set()
    names = {"training": "train", "validation": "val", "testing": "test"}
    for name, folder in names.items():
        samples = samples_of(real_shards / folder)
        assert len(samples) == manifest["utterances"][name]
        speakers[name] = {metadata["speaker_id"] for metadata, _ in samples.values()}
        words |= {metadata["transcription"].lower() for metadata, _ in samples.values()}
        meta = json.loads((real_shards / folder / "meta.json").read_text())
        assert meta["num_speakers"] == len(speakers[name]) == manifest["speakers"][name]
        assert meta["num_rejected"] == 0
    assert sorted(words) == manifest["words"]
    assert not speakers["training"] & (speakers["validation"] | speakers["testing"])
    assert not speakers["validation"] & speakers["testing"]
    assert len(list((real_shards / "noise").glob("*.wav"))) == 3
