from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.archive_files import options
from w2v2_mt.app.commands import app
from w2v2_mt.prepare import librispeech, voxceleb
from w2v2_mt.prepare.options import (
    LibriSpeechOptions,
    Options,
    VoxCeleb2Options,
    VoxCelebOptions,
)
from w2v2_mt.settings import environment

LINE = "--data_folder d --seed 3 --samples_per_shard 9 --audio_format flac --strict"
LINE += " --max_rejected 0.5 --num_workers 0 --overwrite --delete_originals"
CHANGES = {
    "data_folder": Path("d"),
    "seed": 3,
    "samples_per_shard": 9,
    "audio_format": "flac",
    "strict": True,
    "max_rejected": 0.5,
    "num_workers": 0,
    "overwrite": True,
    "delete_originals": True,
}


def given(monkeypatch: pytest.MonkeyPatch, command: str) -> list[Options]:
    """The options that a command line sets."""
    found: list[Options] = []
    monkeypatch.setattr(librispeech, "prepare_librispeech", found.append)
    monkeypatch.setattr(voxceleb, "prepare_voxceleb1", found.append)
    monkeypatch.setattr(voxceleb, "prepare_voxceleb2", found.append)
    result = CliRunner().invoke(app, ["prepare", *command.split()])
    assert result.exit_code == 0 if found else 2
    return found


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"samples_per_shard": 0}, "--samples_per_shard is 0; it must be at least 1"),
        ({"num_workers": -1}, "--num_workers is -1; it must be at least 0"),
        ({"limit": 0}, "--limit is 0; it must be at least 1"),
        ({"max_rejected": 1.5}, "--max_rejected is 1.5; it must be from 0 to 1"),
        ({"limit": 5, "delete_originals": True}, "would remove what --limit leaves out"),
    ],
)
def test_impossible_values_are_refused(changes: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        options(Path("data"), **changes)


@pytest.mark.parametrize("val_fraction", [0, 1, -0.1, 2])
def test_a_fraction_outside_the_unit_interval_is_refused(val_fraction: float) -> None:
    with pytest.raises(ValueError, match="val_fraction is .* must be above 0 and below 1"):
        VoxCelebOptions(data_folder=Path("data"), val_fraction=val_fraction)


@pytest.mark.parametrize("num_trials", [0, 1, 7])
def test_numbers_without_two_halves_are_refused(num_trials: int) -> None:
    with pytest.raises(ValueError, match=f"num_val_trials is {num_trials}; it must be an even"):
        VoxCelebOptions(data_folder=Path("data"), num_val_trials=num_trials)


def test_the_command_line_sets_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    assert given(monkeypatch, f"librispeech {LINE}") == [LibriSpeechOptions(**CHANGES)]
    split = "--val_split_mode different --val_fraction 0.2 --num_val_trials 8"
    changes = {"val_split_mode": "different", "val_fraction": 0.2, "num_val_trials": 8} | CHANGES
    assert given(monkeypatch, f"voxceleb1 {LINE} {split}") == [VoxCelebOptions(**changes)]
    assert given(monkeypatch, f"voxceleb2 {LINE} {split} --with_test_part") == [
        VoxCeleb2Options(**changes, with_test_part=True)
    ]


def test_each_corpus_has_its_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_FOLDER", "d")
    folder = Path("d")
    assert given(monkeypatch, "librispeech") == [LibriSpeechOptions(data_folder=folder)]
    assert given(monkeypatch, "voxceleb1 --limit 4") == [
        VoxCelebOptions(data_folder=folder, limit=4, num_val_trials=5000)
    ]
    assert given(monkeypatch, "voxceleb2") == [
        VoxCeleb2Options(data_folder=folder, num_val_trials=30_000)
    ]


def test_the_data_folder_is_that_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "PROJECT_FOLDER", tmp_path)
    monkeypatch.delenv("DATA_FOLDER", raising=False)
    assert given(monkeypatch, "librispeech") == []  # This package without its project.
    (tmp_path / "config").mkdir()
    for line, folder in (
        ("DATA_FOLDER=", tmp_path / "data"),
        ("DATA_FOLDER=mine", tmp_path / "mine"),
        ('DATA_FOLDER="/from/file"', Path("/from/file")),
    ):
        (tmp_path / ".env").write_text(f"{line}\n")
        assert given(monkeypatch, "librispeech") == [LibriSpeechOptions(data_folder=folder)]
    monkeypatch.setenv("DATA_FOLDER", "d")
    assert given(monkeypatch, "librispeech") == [LibriSpeechOptions(data_folder=Path("d"))]


def test_subsets_are_named_one_after_another(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "librispeech --data_folder d --subsets dev-clean test-other dev-other --seed 3"
    (found,) = given(monkeypatch, line)
    assert isinstance(found, LibriSpeechOptions)
    assert found.named_subsets == ["dev-clean", "test-other", "dev-other"]
    assert given(monkeypatch, f"{line} --subsets dev-dirty") == []


def test_only_what_decides_the_bytes_is_metadata() -> None:
    first = options(Path("a"))
    assert first.metadata() == options(Path("b"), num_workers=3, max_rejected=1.0).metadata()
    for change in ({"seed": 2}, {"audio_format": "flac"}, {"limit": 3}, {"strict": True}):
        assert first.metadata() != options(Path("a"), **change).metadata()
