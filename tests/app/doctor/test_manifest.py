from collections.abc import Callable
from pathlib import Path

import pytest

from w2v2_mt.app.commands import main
from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.app.doctor.manifest import check_manifest

Check = Callable[[str], dict[str, Finding]]


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Check a table of recordings, all of which exist; return the findings by subject."""

    def check_table(content: str) -> dict[str, Finding]:
        path = tmp_path / "mine.csv"
        path.write_text(content, encoding="utf-8")
        for line in content.splitlines()[1:]:
            if not line.startswith("none"):
                (tmp_path / line.partition(",")[0]).touch()
        return {each.subject: each for each in check_manifest(path, root=None)}

    return check_table


def rows(num_speakers: int, *, num_each: int = 2) -> str:
    """The lines of path, text and speaker."""
    return "".join(
        f"{speaker}-{number}.wav,hello,speaker {speaker}\n"
        for speaker in range(num_speakers)
        for number in range(num_each)
    )


def test_a_complete_manifest_lacks_nothing(check: Check) -> None:
    lines = [
        f"{speaker}-{number}.wav,hello you,s{speaker},{number},{'fm'[speaker % 2]},31\n"
        for speaker in range(12)
        for number in range(2)
    ]
    found = check("path,text,speaker,session,gender,age\n" + "".join(lines))
    assert {each.state for each in found.values()} == {State.OK}
    assert found["manifest"].found.startswith("table with 24 recordings below /")
    assert "sex in 'gender'; kept as metadata: 'age'" in found["manifest"].found
    assert found["text"].found == "24 of 24 recordings have one"
    assert found["speakers"].found == "12 speakers with 2 to 2 recordings each"
    assert found["speaker sets"].found.startswith("drawn: train 16, val 4, test 4")


def test_without_texts_there_is_no_speech_recognition(check: Check) -> None:
    found = check("path,speaker\n" + rows(8).replace(",hello", ""))
    assert found["text"].state is State.MISSING
    assert found["text"].needed_for == "speech recognition"
    assert found["speaker sets"].state is State.OK
    assert not found["text"].is_required


def test_without_speakers_there_is_no_speaker_recognition(check: Check) -> None:
    found = check("path,text\na.wav,x\nb.wav,y\nc.wav,z\n")
    assert found["speakers"].state is State.MISSING
    assert found["speakers"].needed_for == "speaker recognition"
    assert found["speech sets"].found == "drawn: train 1, val 1, test 1"


def test_the_sets_of_both_tasks_are_those_of_the_preparation(check: Check) -> None:
    found = check("path,text,speaker\n" + rows(6, num_each=4))
    for task in ("speech", "speaker"):
        assert found[f"{task} sets"].found == "drawn: train 8, val 8, test 8"


def test_too_few_speakers_for_validation_and_test_are_named(check: Check) -> None:
    found = check("path,text,speaker\n" + rows(4))["speaker sets"]
    assert found.state is State.MISSING
    assert (
        "It needs at least six speakers with two recordings or more, two for each set."
        in found.found
    )


def test_a_speaker_in_two_given_splits_is_named_with_both_lines(check: Check) -> None:
    found = check(
        "path,text,speaker,split\na.wav,x,anna,train\nb.wav,y,bo,test\nc.wav,z,anna,test\n"
    )
    for task in ("speech", "speaker"):
        finding = found[f"{task} sets"]
        assert finding.state is State.MISSING
        assert "line 2 (train) and mine.csv, line 4 (test)" in finding.found


def test_missing_sessions_and_sexes_are_notes(check: Check) -> None:
    found = check("path,text,speaker\n" + rows(8))
    assert found["sessions"].state is found["sex"].state is State.NOTE


def test_characters_outside_the_english_vocabulary_are_counted(check: Check) -> None:
    found = check("path,text\na.wav,grün über\nb.wav,Café!\nc.wav,don't\n")
    assert found["characters"].state is State.NOTE
    assert found["characters"].found == ("2 of 14 are not in the English vocabulary: Ü (2), É (1)")
    assert check("path,text\na.wav,don't\n")["characters"].state is State.OK


def test_texts_that_cannot_be_normalised_are_counted(check: Check) -> None:
    found = check("path,text\na.wav,x\nb.wav,...\nc.wav,?!\n")["text"]
    assert found.state is State.NOTE
    assert "2 texts cannot be normalised, the first in mine.csv, line 3: its text" in found.found


def test_recordings_without_text_or_speaker_are_counted(check: Check) -> None:
    found = check("path,text,speaker\na.wav,x,\nb.wav,,bo\nc.wav,,\n")
    assert found["text"].found.endswith("and the others serve speaker recognition alone")
    assert found["speakers"].found.endswith("; 2 recordings name none")
    assert found["labels"].found.startswith(
        "1 recording with neither text nor speaker, the first in mi"
    )


def test_lines_that_cannot_be_used_are_counted(check: Check) -> None:
    found = check("path,text\na.wav,x\nnone.wav,y\nb.wav,z\n")["lines"]
    assert found.state is State.MISSING
    assert found.needed_for.endswith("more than --max_rejected (0.1% by default)")
    assert found.found.startswith(
        "1 line (33.3%) cannot be used, the first being mine.csv, line 3: 'none"
    )


def test_the_exit_code_is_1_if_no_task_can_use_the_manifest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        (tmp_path / name).touch()
    path = tmp_path / "mine.csv"
    path.write_text("path,age\na.wav,3\n")
    assert main(["doctor", str(path)]) == 1
    assert "missing  text" in capsys.readouterr().out
    path.write_text("path,text\na.wav,x\nb.wav,y\nc.wav,z\n")
    assert main(["doctor", str(path)]) == 0
    assert "missing  speakers" in capsys.readouterr().out
    assert main(["doctor", str(tmp_path / "none.csv")]) == 1
    assert "none.csv does not exist. Name a manifest." in capsys.readouterr().err


def test_the_root_may_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "a.wav").touch()
    path = tmp_path / "mine.csv"
    path.write_text("path,text\na.wav,x\n")
    assert main(["doctor", str(path)]) == 1
    assert "Error: " in capsys.readouterr().err
    main(["doctor", str(path), "--root", str(tmp_path / "audio")])
    assert "table with 1 recording below" in capsys.readouterr().out
