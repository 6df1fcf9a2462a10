import io
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import (
    file_contents,
    librispeech_members,
    noise,
    tar_bytes,
    without,
    write_tar_gz,
)
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.prepare import archives

PROJECT = Path(__file__).resolve().parents[2]
CHAPTERS = {
    ("84", "121123"): {"0000": "GO DO YOU HEAR", "0001": "BUT IN LESS THAN FIVE MINUTES"},
    ("84", "121550"): {"0007": "IT'S FIVE"},
    ("1462", "170138"): {f"{number:04d}": "YES" for number in range(9)},
}
MEMBERS = librispeech_members("dev-clean", chapters=CHAPTERS)


def write_dev_clean(data_folder: Path, members: list[tuple[str, bytes]]) -> Path:
    return write_tar_gz(data_folder / "librispeech" / "dev-clean.tar.gz", members)


def run(data_folder: Path, *arguments: str) -> int:
    shared = ["--data_folder", str(data_folder), "--num_workers", "0"]
    return main(["prepare", "librispeech", *shared, *arguments])


def samples_of(folder: Path) -> dict[str, tuple[dict, np.ndarray]]:
    return {
        sample.key: (sample.metadata, soundfile.read(io.BytesIO(sample.audio), dtype="int16")[0])
        for shard in find_shards(folder, producer="x")
        for sample in read_shard(shard)
    }


def error_of(data_folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert run(data_folder, *arguments) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    shards = data_folder / "librispeech_shards"
    assert not list(shards.glob("[!.]*"))
    return errors[0]


@pytest.mark.parametrize("transcript_first", [False, True])
def test_every_utterance_reaches_a_shard_bit_by_bit(tmp_path: Path, transcript_first: bool) -> None:
    members = librispeech_members("dev-clean", chapters=CHAPTERS, transcript_first=transcript_first)
    write_dev_clean(tmp_path, members)
    assert run(tmp_path) == 0
    shards = tmp_path / "librispeech_shards" / "dev_clean"
    assert [shard.name for shard in find_shards(shards, producer="x")] == [
        f"dev_clean-shard-{index:06d}.tar" for index in range(8)
    ]
    samples = samples_of(shards)
    assert len(samples) == 12
    for seed, ((reader, chapter), utterances) in enumerate(CHAPTERS.items()):
        for index, (number, words) in enumerate(utterances.items()):
            metadata, waveform = samples[f"{reader}/{chapter}/{number}"]
            np.testing.assert_array_equal(waveform, noise(100 * seed + index))
            assert metadata == {
                "key": f"{reader}/{chapter}/{number}",
                "reader_id": reader,
                "chapter_id": chapter,
                "utterance_id": number,
                "num_frames": 1600,
                "sampling_rate": 16_000,
                "transcription": words,
            }
    meta = json.loads((shards / "meta.json").read_text())
    assert (meta["num_utterances"], meta["num_speakers"], meta["num_shards"]) == (12, 2, 8)
    letters = "".join(words for chapter in CHAPTERS.values() for words in chapter.values())
    assert meta["letter_counts"] == {letter: letters.count(letter) for letter in set(letters)}
    assert meta["letter_counts"][" "] == 3 + 5 + 1
    assert list(meta["letter_counts"]) == sorted(meta["letter_counts"])


def test_a_transcript_may_stand_between_the_audio_of_two_chapters(tmp_path: Path) -> None:
    by_name = sorted(MEMBERS, key=lambda member: member[0][::-1])
    write_dev_clean(tmp_path, by_name)
    assert run(tmp_path) == 0
    assert len(samples_of(tmp_path / "librispeech_shards" / "dev_clean")) == 12


def test_missing_archives_are_named_and_the_vocabulary_is_copied(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    assert run(tmp_path) == 0
    assert (
        "Not prepared, because the archive is missing: train-clean-100, train-clean-360, "
        "train-other-500, dev-other, test-clean, test-other." in capsys.readouterr().out
    )
    shards = tmp_path / "librispeech_shards"
    assert sorted(path.name for path in shards.iterdir()) == [
        "dev_clean",
        "statistics.html",
        "vocabulary.json",
    ]
    vocabulary = json.loads((shards / "vocabulary.json").read_text())
    assert list(vocabulary.values()) == list(range(32))
    assert list(vocabulary)[:5] == ["<pad>", "<s>", "</s>", "<unk>", "|"]


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    shards = tmp_path / "librispeech_shards"
    contents = []
    for arguments in ([], ["--num_workers", "2"], ["--seed", "2"]):
        shutil.rmtree(shards, ignore_errors=True)
        assert run(tmp_path, *arguments) == 0
        contents.append(file_contents(shards))
    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_what_is_there_is_not_made_again_nor_replaced_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    archive = write_dev_clean(tmp_path, MEMBERS)
    assert run(tmp_path) == 0
    before = file_contents(tmp_path / "librispeech_shards")
    assert run(tmp_path) == 0
    assert "They exist already, made with these options: dev-clean." in capsys.readouterr().out
    assert run(tmp_path, "--seed", "2") == 1
    assert "dev_clean exists already" in capsys.readouterr().err
    assert file_contents(tmp_path / "librispeech_shards") == before
    assert run(tmp_path, "--seed", "2", "--overwrite", "--delete_originals") == 0
    assert file_contents(tmp_path / "librispeech_shards") != before
    assert not archive.exists()


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_an_archive_is_kept_where_its_shards_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    archive = write_dev_clean(tmp_path, MEMBERS)
    assert run(tmp_path) == 0
    shard = next((tmp_path / "librispeech_shards" / "dev_clean").glob("*.tar"))
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    assert run(tmp_path, "--delete_originals") == 1
    assert archive.exists()
    error = capsys.readouterr().err
    assert ("The archives are kept." if damage == "gone" else "truncated or corrupt") in error
    assert run(tmp_path, "--overwrite") == 0


def test_shards_without_their_archive_stay_on_the_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    assert run(tmp_path, "--delete_originals") == 0
    other = librispeech_members("dev-other", chapters=CHAPTERS)
    write_tar_gz(tmp_path / "librispeech" / "dev-other.tar.gz", other)
    assert run(tmp_path) == 0
    page = (tmp_path / "librispeech_shards" / "statistics.html").read_text()
    assert "dev_clean" in page
    assert "dev_other" in page
    missing = capsys.readouterr().out.partition("archive is missing: ")[2]
    assert "dev-clean" not in missing
    assert "test-clean" in missing


def test_a_failed_run_leaves_the_shards_of_the_one_before(tmp_path: Path) -> None:
    archive = write_dev_clean(tmp_path, MEMBERS)
    assert run(tmp_path) == 0
    before = file_contents(tmp_path / "librispeech_shards" / "dev_clean")
    archive.write_bytes(archive.read_bytes()[:-50])
    assert run(tmp_path, "--overwrite", "--delete_originals") == 1
    assert file_contents(tmp_path / "librispeech_shards" / "dev_clean") == before
    assert archive.exists()


@pytest.mark.parametrize("transcript_first", [False, True])
@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_a_limit_takes_n_utterances_with_their_words(
    tmp_path: Path, transcript_first: bool, limit: int
) -> None:
    members = librispeech_members("dev-clean", chapters=CHAPTERS, transcript_first=transcript_first)
    write_dev_clean(tmp_path, members)
    assert run(tmp_path, "--limit", str(limit)) == 0
    assert len(samples_of(tmp_path / "librispeech_shards" / "dev_clean")) == min(limit, 12)


def test_a_few_bad_files_are_listed_and_the_command_continues(tmp_path: Path) -> None:
    bad = {
        "1462-170138-0000.flac": b"this is a text",
        "1462-170138-0001.flac": b"",
        "1462-170138-0002.flac": encoded_audio(noise(0, num_samples=0)),
    }
    members = [
        (name, bad.get(Path(name).name, content))
        for name, content in without(MEMBERS, "121550-0007.flac")
        if not name.endswith("84-121123.trans.txt")
    ]
    members += [
        ("LibriSpeech/dev-clean/84/121123/84-121123.trans.txt", b"84-121123-0000 TAKE 5\n"),
        ("other/LibriSpeech/dev-clean/1462/170138/1462-170138-0003.flac", b"twice"),
    ]
    write_dev_clean(tmp_path, members)
    assert run(tmp_path, "--max_rejected", "0.7") == 0
    folder = tmp_path / "librispeech_shards" / "dev_clean"
    assert set(samples_of(folder)) == {f"1462/170138/{number:04d}" for number in range(3, 9)}
    lines = (folder / "rejected.tsv").read_text().splitlines()
    rows = dict(line.split("\t") for line in lines[1:])
    prefix = "dev-clean.tar.gz: LibriSpeech/dev-clean"
    expected = {
        f"{prefix}/1462/170138/1462-170138-0000.flac": "cannot be decoded",
        f"{prefix}/1462/170138/1462-170138-0001.flac": "cannot be decoded",
        f"{prefix}/1462/170138/1462-170138-0002.flac": "no audio",
        f"{prefix}/84/121123/84-121123-0000.flac": "the character '5'",
        f"{prefix}/84/121123/84-121123-0001.flac": "no transcription for it",
        "dev-clean.tar.gz: 84/121550/0007": "no audio for this transcription",
        "dev-clean.tar.gz: other/LibriSpeech/dev-clean/1462/170138/1462-170138-0003.flac": (
            "its key 1462/170138/0003 is that of an earlier file"
        ),
    }
    assert set(rows) == set(expected)
    for file, reason in expected.items():
        assert reason in rows[file]
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["num_rejected"] == len(expected)
    assert meta["letter_counts"] == {"E": 6, "S": 6, "Y": 6}


def test_a_limit_lists_what_it_cannot_use_and_the_table_counts_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chapters = CHAPTERS | {("84", "121123"): {"0000": "TAKE 5", "0001": "BUT IN LESS"}}
    write_dev_clean(tmp_path, librispeech_members("dev-clean", chapters=chapters))
    assert run(tmp_path, "--limit", "2", "--max_rejected", "0.5") == 0
    folder = tmp_path / "librispeech_shards" / "dev_clean"
    assert set(samples_of(folder)) == {"84/121123/0001"}
    (row,) = (folder / "rejected.tsv").read_text().splitlines()[1:]
    assert "84-121123-0000.flac\tthe character '5'" in row
    assert json.loads((folder / "meta.json").read_text())["num_rejected"] == 1
    (line,) = [
        line for line in capsys.readouterr().out.splitlines() if line.startswith("dev_clean")
    ]
    numbers = [cell for cell in line.replace("\u2502", " ").split() if cell.isdigit()]
    assert numbers[-2:] == ["1", "0"]  # rejected, converted


def test_a_member_that_is_refused_is_counted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_AUDIO_BYTES", 100_000)
    name = "LibriSpeech/dev-clean/84/121123/84-121123-0000.flac"
    write_dev_clean(tmp_path, [(one, bytes(100_001) if one == name else x) for one, x in MEMBERS])
    assert run(tmp_path, "--max_rejected", "0.1") == 0
    folder = tmp_path / "librispeech_shards" / "dev_clean"
    (row,) = (folder / "rejected.tsv").read_text().splitlines()[1:]
    assert row.startswith(f"dev-clean.tar.gz: {name}\tit has 100001 bytes; files of up to ")
    meta = json.loads((folder / "meta.json").read_text())
    assert (meta["num_utterances"], meta["num_rejected"]) == (11, 1)


@pytest.mark.parametrize("has_line", [False, True])
def test_an_utterance_whose_line_is_in_another_chapter_is_counted_once(
    tmp_path: Path, has_line: bool
) -> None:
    own, other = (f"84-{chapter}.trans.txt" for chapter in ("121550", "121123"))
    members = [
        (name, b"" if name.endswith(own) and not has_line else content)
        for name, content in without(MEMBERS, other)
    ]
    lines = b"84-121550-0007 IT'S FIVE\n84-121123-0000 GO\n84-121123-0001 BUT\n"
    members.append((f"LibriSpeech/dev-clean/84/121123/{other}", lines))
    write_dev_clean(tmp_path, members)
    assert run(tmp_path, "--max_rejected", "0.1") == 0
    folder = tmp_path / "librispeech_shards" / "dev_clean"
    (row,) = (folder / "rejected.tsv").read_text().splitlines()[1:]
    assert "84-121550-0007.flac\tits line is in the transcript of the chapter 84/121123." in row
    assert json.loads((folder / "meta.json").read_text())["num_utterances"] == 11


def test_a_tar_that_is_not_compressed_is_prepared_all_the_same(tmp_path: Path) -> None:
    write_dev_clean(tmp_path, []).write_bytes(tar_bytes(MEMBERS))
    assert run(tmp_path) == 0
    assert len(samples_of(tmp_path / "librispeech_shards" / "dev_clean")) == 12


def test_an_archive_without_words_is_reported_even_if_all_may_be_rejected(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dev_clean(tmp_path, without(MEMBERS, ".trans.txt"))
    error = error_of(tmp_path, capsys, "--max_rejected", "1")
    assert "12 of 12 files are rejected so far, no utterance is left" in error
    assert "there is no transcription for it" in error


@pytest.mark.parametrize("denied", ["librispeech/dev-clean.tar.gz", "librispeech_shards"])
def test_what_may_not_be_accessed_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    denied: str,
) -> None:
    data_folder = tmp_path / "data"
    write_dev_clean(data_folder, MEMBERS)
    (data_folder / "librispeech_shards").mkdir(mode=0o777)
    (data_folder / "librispeech_shards").chmod(0o777)
    (data_folder / denied).chmod(0o000 if denied.endswith(".gz") else 0o555)
    monkeypatch.chdir(data_folder)
    request.getfixturevalue("ordinary_user")
    assert run(Path(".")) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if "Error" in line]
    assert len(errors) == 1
    assert errors[0].startswith(f"Error: access to {denied}")
    assert (
        "is denied (Permission denied). Change its permissions or choose another folder"
        in errors[0]
    )


def test_a_folder_that_may_not_be_written_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    # A file where the folder should be fails for the superuser too.
    (tmp_path / "librispeech_shards").write_text("")
    assert run(tmp_path) == 1
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line]
    assert error.startswith("Error: ")
    assert "librispeech_shards" in error


def test_no_archive_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds none of the archives train-clean-100.tar.gz" in error_of(tmp_path, capsys)


def test_an_archive_that_was_asked_for_must_exist(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    error = error_of(tmp_path, capsys, "--subsets", "dev-clean", "test-other")
    assert "does not hold test-other.tar.gz" in error


@pytest.mark.parametrize(
    ("members", "complaint"),
    [
        (
            without(MEMBERS, "121550.trans.txt"),
            "there is no transcription for it",
        ),
        (without(MEMBERS, "-0007.flac"), "there is no audio for this transcription"),
        (librispeech_members("dev-other", chapters=CHAPTERS), "holds LibriSpeech/dev-other/84/"),
        (librispeech_members("dev-clean", chapters={("1", "2"): {"0": "no"}}), "character 'n'"),
        ([("LibriSpeech/dev-clean/1/2/1-3-0.flac", b"")], "must be LibriSpeech/dev-clean/<reader>"),
        ([("LibriSpeech/dev-clean/1/2/1-2-.flac", b"")], "must be LibriSpeech/dev-clean/<reader>"),
        (
            [("LibriSpeech/README.TXT", b"")],
            "dev-clean.tar.gz holds no audio file, by the suffixes",
        ),
        (
            [
                ("LibriSpeech/dev-clean/1/2/1-2.trans.txt", b"1-2-0 YES"),
                (
                    "LibriSpeech/dev-clean/1/2/1-2-0.flac",
                    encoded_audio(noise(0), format="FLAC", sample_rate_hz=8000),
                ),
            ],
            "is not 16 kHz mono, which --strict demands",
        ),
    ],
    ids=["transcript", "audio", "subset", "letters", "layout", "utterance", "empty", "rate"],
)
def test_what_is_wrong_with_an_archive_is_one_sentence(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    members: list[tuple[str, bytes]],
    complaint: str,
) -> None:
    write_dev_clean(tmp_path, members)
    assert complaint in error_of(tmp_path, capsys, "--strict")


@pytest.mark.programs("bash", "dirname")
def test_the_script_prepares_what_lies_in_the_data_folder(tmp_path: Path) -> None:
    write_dev_clean(tmp_path, MEMBERS)
    finished = subprocess.run(
        [PROJECT / "scripts/data/librispeech/produce_librispeech_shards.sh", "--seed", "3"],
        env={**os.environ, "DATA_FOLDER": "."},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "dev_clean" in finished.stdout
    meta = json.loads((tmp_path / "librispeech_shards" / "dev_clean" / "meta.json").read_text())
    assert meta["seed"] == 3
