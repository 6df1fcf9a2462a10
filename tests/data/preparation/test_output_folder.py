from pathlib import Path

import pytest

from w2v2_mt.data.preparation.output_folder import replaced_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(folder: Path, name: str, *, succeeds: bool = True) -> None:
    with replaced_folder(folder) as new_folder:
        (new_folder / name).touch()
        if not succeeds:
            raise ValueError("half way")


def test_a_complete_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    fill(tmp_path / "results", "old")
    fill(tmp_path / "results", "new")
    assert names(tmp_path) == ["results"]
    assert names(tmp_path / "results") == ["new"]


def test_a_failure_leaves_the_old_folder_alone(tmp_path: Path) -> None:
    fill(tmp_path / "results", "old")
    with pytest.raises(ValueError, match="half way"):
        fill(tmp_path / "results", "new", succeeds=False)
    assert names(tmp_path) == ["results"]
    assert names(tmp_path / "results") == ["old"]


def test_a_run_that_was_stopped_between_two_renames_is_repaired(tmp_path: Path) -> None:
    previous = tmp_path / ".results.previous"
    previous.mkdir()
    (previous / "old").touch()
    with pytest.raises(ValueError, match="half way"):
        fill(tmp_path / "results", "new", succeeds=False)
    assert names(tmp_path) == ["results"]
    assert names(tmp_path / "results") == ["old"]
