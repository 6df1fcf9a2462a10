import fcntl
from pathlib import Path

import pytest

from w2v2_mt.data.preparation.workspace import produce, temporary


def made(
    folder: Path, *, record: str = "first", overwrite: bool = False, stops: bool = False
) -> bool:
    """Two folders with a file each; the second file counts how often the work was taken up."""

    def fill(work: Path) -> None:
        for name in ("one", "two"):
            (work / name).mkdir(exist_ok=True)
        with open(work / "one" / "record", "a") as file:
            file.write(record)
        if stops:
            raise KeyboardInterrupt
        (work / "two" / "record").write_text(record)

    return produce(
        [folder / "one", folder / "two"],
        work=folder / ".partial",
        record={"record": record},
        overwrite=overwrite,
        fill=fill,
    )


def contents(folder: Path) -> dict[str, str]:
    return {
        name: (folder / name / "record").read_text()
        for name in ("one", "two")
        if (folder / name).exists()
    }


def test_folders_are_made_once(tmp_path: Path) -> None:
    assert made(tmp_path)
    assert contents(tmp_path) == {"one": "first", "two": "first"}
    assert not made(tmp_path)
    assert contents(tmp_path) == {"one": "first", "two": "first"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_what_was_made_otherwise_is_replaced_only_when_asked(tmp_path: Path) -> None:
    made(tmp_path)
    with pytest.raises(ValueError, match=r"one exists already.*or pass --overwrite"):
        made(tmp_path, record="second")
    assert contents(tmp_path) == {"one": "first", "two": "first"}
    assert made(tmp_path, record="second", overwrite=True)
    assert contents(tmp_path) == {"one": "second", "two": "second"}


def test_a_stopped_call_is_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, stops=True)
    assert contents(tmp_path) == {}
    assert made(tmp_path)
    assert contents(tmp_path) == {"one": "firstfirst", "two": "first"}


def test_another_record_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path, stops=True)
    assert made(tmp_path, record="second")
    assert contents(tmp_path) == {"one": "second", "two": "second"}


@pytest.mark.parametrize("num_moves", [0, 1, 2, 3])
@pytest.mark.parametrize("then", ["first", "second", "third"])
def test_a_call_that_is_stopped_between_its_moves_is_finished_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_moves: int, then: str
) -> None:
    made(tmp_path, record="first")
    move = Path.rename
    moves: list[Path] = []

    def stopped(path: Path, target: Path) -> Path:
        if len(moves) == num_moves:
            raise KeyboardInterrupt
        moves.append(path)
        return move(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, record="second", overwrite=True)
    made(tmp_path, record=then, overwrite=True)
    assert contents(tmp_path) == {"one": then, "two": then}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_two_processes_do_not_work_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / ".partial").mkdir()
    with open(tmp_path / ".partial" / "lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ValueError, match="another process is at work in"):
            made(tmp_path)
    assert made(tmp_path)


def test_a_temporary_folder_is_taken_over_and_goes_in_the_end(tmp_path: Path) -> None:
    work = tmp_path / ".partial"
    (work / "left" / "over").mkdir(parents=True)
    (work / "left" / "file").touch()
    with temporary(work):
        assert [path.name for path in work.iterdir()] == ["lock"]
        (work / "new").mkdir()
        with pytest.raises(ValueError, match="another process is at work in"), temporary(work):
            pass
        assert (work / "new").exists()
    assert not work.exists()
