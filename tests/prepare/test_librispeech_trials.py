"""LibriSpeech as a speaker corpus: trials of dev and test sets, speakers of training sets."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.archive_files import Members, file_contents, librispeech_members, write_tar_gz
from w2v2_mt.app.commands import main
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.trials import read_trials
from w2v2_mt.prepare.librispeech_trials import read_reader_sexes

CHAPTERS = {
    (reader, chapter): dict.fromkeys(("0000", "0001"), "YES")
    for reader, chapters in {"84": "12", "1462": "34", "61": "56", "60": "7"}.items()
    for chapter in chapters
}
SPEAKERS = b"""; Some pipe(|) separated metadata about all LibriVox readers
;ID  |SEX| SUBSET           |MINUTES| NAME
60   | M | train-clean-100  | 20.18 | |CBW|Simon
61   | M | dev-clean        | 8.08  | Paul-Gabriel Wiener
84   | F | dev-clean        | 8.02  | Christie Nowak
1462 | F | dev-clean        | 8.04  | E. Tavano
"""


def members_of(subset: str, *, speakers: bytes | None = SPEAKERS) -> Members:
    members = librispeech_members(subset, chapters=CHAPTERS)
    return members if speakers is None else [("LibriSpeech/SPEAKERS.TXT", speakers), *members]


def prepare(data_folder: Path, *arguments: str) -> Path:
    command = ["prepare", "librispeech", "--data_folder", str(data_folder), "--num_workers", "0"]
    assert main([*command, *arguments]) == 0
    return data_folder / "librispeech_shards"


@pytest.fixture
def prepared(tmp_path: Path) -> Callable[..., Path]:
    def write(subset: str, *arguments: str, speakers: bytes | None = SPEAKERS) -> Path:
        archive = tmp_path / "librispeech" / f"{subset}.tar.gz"
        write_tar_gz(archive, members_of(subset, speakers=speakers))
        return prepare(tmp_path, *arguments) / subset.replace("-", "_")

    return write


def trials_of(folder: Path) -> list[Trial]:
    return read_trials(folder / f"{folder.name}_trials.txt", producer="x")


def readers(trial: Trial) -> set[str]:
    return {key.split("/")[0] for key in (trial.left_key, trial.right_key)}


@pytest.mark.parametrize("subset", ["dev-clean", "test-other", "dev-clean-2"])
def test_a_set_has_trials_of_one_sex_and_across_chapters(
    prepared: Callable[..., Path], capsys: pytest.CaptureFixture[str], subset: str
) -> None:
    folder = prepared(subset)
    trials = trials_of(folder)
    targets = [trial for trial in trials if trial.same_speaker]
    # Across the two chapters of 84, 1462 and 61 there are 4 pairs each; 60 has one chapter only.
    # Of one sex are 4 x 4 pairs of 84 with 1462, and 4 x 2 of 61 with 60: more than are needed.
    assert len(targets) == len(trials) - len(targets) == 13
    across = [trial for trial in targets if readers(trial) != {"60"}]
    assert len(across) == 12
    assert all(trial.left_key.split("/")[1] != trial.right_key.split("/")[1] for trial in across)
    assert all(len(readers(trial)) == 1 for trial in targets)
    assert {frozenset(readers(trial)) for trial in trials if not trial.same_speaker} == {
        frozenset({"84", "1462"}),
        frozenset({"61", "60"}),
    }
    assert f"{folder.name}: 26 trials.\n" in capsys.readouterr().out


@pytest.mark.parametrize("subset", ["train-clean-100", "train-clean-5"])
def test_a_training_set_names_its_speakers_and_has_no_trials(
    prepared: Callable[..., Path], subset: str
) -> None:
    folder = prepared(subset)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["speakers"] == ["1462", "60", "61", "84"]
    assert meta["num_speakers"] == 4
    assert not list(folder.glob("*trials*"))


@pytest.mark.parametrize(
    ("speakers", "unknown"),
    [(None, 4), (SPEAKERS.replace(b"| F |", b"| ? |"), 2)],
    ids=["no table", "other sexes"],
)
def test_readers_of_unknown_sex_are_counted(
    prepared: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
    speakers: bytes | None,
    unknown: int,
) -> None:
    folder = prepared("dev-clean", speakers=speakers)
    assert (
        f"does not name the sex of {unknown} readers, who form pairs with each other."
        in capsys.readouterr().out
    )
    pairs = {frozenset(readers(trial)) for trial in trials_of(folder) if not trial.same_speaker}
    assert (frozenset({"84", "61"}) in pairs) == (speakers is None)


def test_a_set_without_pairs_has_shards_and_no_trials(
    prepared: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepared("dev-clean", "--limit", "1")
    assert not list(folder.glob("*trials*"))
    assert list(folder.glob("*.tar"))
    assert re.search(
        r"No list of trials is written: the set dev_clean \(1 speaker\) has no two utterances of "
        r"one speaker, .*; for speech recognition it needs none\.",
        capsys.readouterr().out,
    )


def test_shards_of_an_earlier_version_get_the_trials_that_new_ones_have(
    tmp_path: Path, prepared: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = prepared("dev-clean")
    before = file_contents(folder)
    (folder / "dev_clean_trials.txt").unlink()
    prepare(tmp_path)
    output = capsys.readouterr().out
    assert "They exist already, made with these options: dev-clean." in output
    assert file_contents(folder) == before


def test_the_name_of_a_reader_may_hold_the_separator(tmp_path: Path) -> None:
    archive = write_tar_gz(tmp_path / "a.tar.gz", members_of("dev-clean"))
    assert read_reader_sexes(archive) == {"60": "m", "61": "m", "84": "f", "1462": "f"}
