import logging
import zipfile
from pathlib import Path

import pytest
import torch

from w2v2_mt.app.checkpoints import RECORD_KEY
from w2v2_mt.app.saving import WholeFiles, latest_checkpoint


def write_checkpoint(path: Path, step: int) -> None:
    WholeFiles().save_checkpoint({"state_dict": {}, "global_step": step, RECORD_KEY: {}}, path)


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


@pytest.fixture
def last(tmp_path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(path, 4)
    return path


def test_nothing_saved_is_nothing_to_go_on_from(tmp_path):
    assert latest_checkpoint(tmp_path) is None


def test_a_run_goes_on_from_its_last_checkpoint(tmp_path, last, caplog):
    write_checkpoint(last.with_name("last.previous.ckpt"), 2)
    assert latest_checkpoint(tmp_path) == last
    assert not caplog.records


@pytest.mark.parametrize("num_bytes", [0, 100, -10])
def test_a_damaged_last_checkpoint_falls_back_to_the_one_before(tmp_path, last, num_bytes, caplog):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    last.write_bytes(last.read_bytes()[:num_bytes])
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == previous
    assert f"{last} is damaged or no checkpoint" in caplog.text
    assert f"Going on from {previous} instead." in caplog.text


def test_a_checkpoint_of_which_a_few_numbers_were_lost_falls_back_too(tmp_path, last, caplog):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    content = {"state_dict": {"a": torch.arange(9.0)}, "global_step": 4, RECORD_KEY: {}}
    WholeFiles().save_checkpoint(content, last)
    with zipfile.ZipFile(last) as archive:
        stored = archive.read(next(name for name in archive.namelist() if "/data/" in name))
    whole = last.read_bytes()
    place = whole.index(stored)
    last.write_bytes(whole[:place] + bytes(len(stored)) + whole[place + len(stored) :])
    assert any(stored)
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == previous
    assert "has another checksum" in caplog.text


def test_a_flipped_bit_anywhere_falls_back_too(tmp_path, last):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    content = {"state_dict": {"a": torch.arange(9.0)}, "global_step": 4, RECORD_KEY: {"b": ["c"]}}
    WholeFiles().save_checkpoint(content, last)
    whole = last.read_bytes()
    with zipfile.ZipFile(last) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if "data.pkl" in name))
    start = whole.index(pickled)
    for place in range(start, start + len(pickled)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        last.write_bytes(changed)
        assert latest_checkpoint(tmp_path) == previous, place


def test_a_damaged_checkpoint_without_another_is_an_error(tmp_path, last):
    last.write_bytes(b"")
    with pytest.raises(ValueError, match=r"last\.ckpt is damaged or no checkpoint"):
        latest_checkpoint(tmp_path)


def test_between_two_renames_the_one_before_is_the_last(tmp_path, last):
    previous = last.with_name("last.previous.ckpt")
    last.rename(previous)
    assert latest_checkpoint(tmp_path) == previous


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write")])
def test_what_cannot_be_written_leaves_what_was_there(last, monkeypatch, error):
    def write(content, file):
        file.write(b"the beginning")
        raise error

    monkeypatch.setattr(torch, "save", write)
    with pytest.raises(ValueError, match=r"^cannot save .*last\.ckpt \(.*\); make room for it"):
        write_checkpoint(last, 6)
    assert step_of(last) == 4
    assert list(last.parent.iterdir()) == [last]
