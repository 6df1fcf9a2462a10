"""The archives of Speech Commands: both layouts, the sets, and what is wrong with one."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.helpers.archive_files import (
    Members,
    noise,
    speech_commands_members,
    without,
    write_tar_gz,
    write_zip,
)
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.prepare import archives
from w2v2_mt.prepare.archives import Piece, ZipMember
from w2v2_mt.prepare.buckets import Buckets
from w2v2_mt.prepare.speech_commands_archive import (
    SpeechCommands,
    official_set,
    read_speech_commands,
)

SETS = {"train": ["0a0b", "1c1d", "2e2f"], "val": ["3a3b"], "test": ["4c4d"]}
MEMBERS = speech_commands_members(SETS)


def read(tmp_path: Path, members: Members, *, kind: str = "tar") -> SpeechCommands:
    write, name = {"tar": (write_tar_gz, "sc.tar.gz"), "zip": (write_zip, "sc.zip")}[kind]
    return read_speech_commands(
        write(tmp_path / name, members),
        buckets=Buckets(tmp_path / "buckets"),
        place_of=lambda name: len(name),
        on_position=lambda position: None,
    )


def content_of(file: Piece | ZipMember) -> bytes:
    with file.container.open("rb") as stream:
        return file.read(stream)


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_state_the_word_and_the_speaker_and_lists_the_set(tmp_path: Path, kind: str) -> None:
    found = read(tmp_path, MEMBERS, kind=kind)
    assert Counter(each.split for each in found.recordings) == {"train": 12, "val": 4, "test": 4}
    by_set = {
        name: {each.speaker for each in found.recordings if each.split == name} for name in SETS
    }
    assert by_set == {name: set(speakers) for name, speakers in SETS.items()}
    one = next(each for each in found.recordings if each.key == "yes/3a3b_nohash_1")
    assert (one.text, one.speaker, one.split) == ("YES", "3a3b", "val")
    assert (one.session, one.sex, one.start_sec) == (None, None, None)
    assert one.line.endswith(": ./yes/3a3b_nohash_1.wav")
    audio = dict(MEMBERS)
    for each in found.recordings:
        assert content_of(found.audio[each.path]) == audio[f"./{each.path}"]
    assert list(found.noises) == ["hum.wav"]
    assert content_of(found.noises["hum.wav"]) == audio["./_background_noise_/hum.wav"]
    assert [Path(name).name for name in found.passed_over] == ["README.md"]
    assert not found.rejections


def test_the_mini_layout_is_split_by_the_rule_of_the_readme(tmp_path: Path) -> None:
    # In the lists of v0.02, 026290a7 validates, bb05582b tests and 0132a06d does neither.
    speakers = ["026290a7", "bb05582b", "0132a06d"]
    members = speech_commands_members(
        {"all": speakers}, prefix="mini_speech_commands/", with_lists=False
    )
    members += [("__MACOSX/mini_speech_commands/yes/._026290a7_nohash_0.wav", b"")]
    found = read(tmp_path, members, kind="zip")
    assert {each.speaker: each.split for each in found.recordings} == {
        "026290a7": "val",
        "bb05582b": "test",
        "0132a06d": "train",
    }
    assert len(found.recordings) == 12
    assert "no/bb05582b_nohash_0" in {each.key for each in found.recordings}
    assert not found.noises


def test_the_rule_gives_a_tenth_of_the_speakers_to_each_evaluation_set() -> None:
    sets = Counter(official_set(f"{number:08x}") for number in range(5000))
    assert sets["val"] / 5000 == pytest.approx(0.1, abs=0.015)
    assert sets["test"] / 5000 == pytest.approx(0.1, abs=0.015)


def test_real_archives_have_the_counts_of_their_manifest(
    tmp_path: Path, shared_folder: Path
) -> None:
    folder = shared_folder / "data" / "speech_commands"
    manifest = json.loads((folder / "manifest.json").read_text())
    found = read_speech_commands(
        folder / "speech_commands_v0.02.tar.gz",
        buckets=Buckets(tmp_path / "buckets"),
        place_of=lambda name: len(name),
        on_position=lambda position: None,
    )
    names = {"training": "train", "validation": "val", "testing": "test"}
    for name, split in names.items():
        of_set = [each for each in found.recordings if each.split == split]
        assert len(of_set) == manifest["utterances"][name]
        assert len({each.speaker for each in of_set}) == manifest["speakers"][name]
    assert len({each.speaker for each in found.recordings}) == sum(manifest["speakers"].values())
    assert (
        sorted({each.text.lower() for each in found.recordings if each.text}) == (manifest["words"])
    )
    assert len(found.noises) == 3
    assert not found.rejections


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_files_that_cannot_be_used_are_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(archives, "MAX_AUDIO_BYTES", 100_000)
    members = without(MEMBERS, "yes/3a3b_nohash_0.wav")
    members.append(("copy/yes/0a0b_nohash_0.wav", b"twice"))
    if kind == "tar":
        members.append(("./yes/5e5f_nohash_0.wav", bytes(100_001)))
    found = read(tmp_path, members, kind=kind)
    reasons = {each.file.partition(": ")[2]: each.reason for each in found.rejections}
    assert "is listed for the set val, but there is no such" in reasons["yes/3a3b_nohash_0.wav"]
    assert "is that of an earlier file" in reasons["copy/yes/0a0b_nohash_0.wav"]
    assert len(reasons) == (3 if kind == "tar" else 2)
    assert len(found.recordings) == 19


ONE_WAV = encoded_audio(noise(0))


@pytest.mark.parametrize("kind", ["tar", "zip"])
@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        ([*MEMBERS, ("./yes/anna.wav", ONE_WAV)], r"holds ./yes/anna.wav; every audio file must"),
        ([*MEMBERS, ("./anna_nohash_0.wav", ONE_WAV)], "must be <word>/<speaker>_nohash_<number>"),
        ([*MEMBERS, ("./yes/0a0b_nohash_7.mp3", ONE_WAV)], "must be <word>/<speaker>_nohash_"),
        (without(MEMBERS, ".wav"), "holds no <word>/<speaker>_nohash_<number>.wav. Get the"),
        (without(MEMBERS, "testing_list.txt"), "has validation_list.txt but not testing_list.txt"),
        (
            [
                *without(MEMBERS, "testing_list.txt"),
                ("./testing_list.txt", b"yes/3a3b_nohash_0.wav\r\n"),
            ],
            "lists yes/3a3b_nohash_0.wav for two sets",
        ),
        ([*MEMBERS, ("../yes/0a0b_nohash_9.wav", ONE_WAV)], "unsafe member"),
    ],
    ids=["name", "no word", "suffix", "no audio", "one list", "both lists", "unsafe"],
)
def test_another_archive_is_one_sentence(
    tmp_path: Path, members: Members, complaint: str, kind: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        read(tmp_path, members, kind=kind)
