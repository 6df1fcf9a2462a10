import logging
import zipfile
from pathlib import Path

import pytest
import torch

from w2v2_mt.training.callbacks.last_checkpoint import latest_checkpoint
from w2v2_mt.training.checkpoints import RECORD_KEY, AtomicCheckpointIO


def write_checkpoint(path: Path, step: int) -> None:
    AtomicCheckpointIO().save_checkpoint(
        {"state_dict": {}, "global_step": step, RECORD_KEY: {}}, path
    )


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


@pytest.fixture
def last(tmp_path) -> Path:
    path = tmp_path / "checkpoints" / "last.ckpt"
    write_checkpoint(path, 4)
    return path


def test_a_folder_without_checkpoints_has_nothing_to_resume(tmp_path):
    assert latest_checkpoint(tmp_path) is None


def test_a_run_resumes_from_its_last_checkpoint(tmp_path, last, caplog):
    write_checkpoint(last.with_name("last.previous.ckpt"), 2)
    assert latest_checkpoint(tmp_path) == last
    assert not caplog.records


@pytest.mark.parametrize("num_bytes", [0, 100, -10])
def test_a_truncated_last_checkpoint_falls_back_to_the_previous_one(
    tmp_path, last, num_bytes, caplog
):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    last.write_bytes(last.read_bytes()[:num_bytes])
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == previous
    assert f"{last} is corrupt or not a checkpoint" in caplog.text
    assert f"Resuming from {previous} instead." in caplog.text


def test_a_checkpoint_with_overwritten_weights_falls_back_to_the_previous_one(
    tmp_path, last, caplog
):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    content = {"state_dict": {"a": torch.arange(9.0)}, "global_step": 4, RECORD_KEY: {}}
    AtomicCheckpointIO().save_checkpoint(content, last)
    with zipfile.ZipFile(last) as archive:
        stored = archive.read(next(name for name in archive.namelist() if "/data/" in name))
    whole = last.read_bytes()
    place = whole.index(stored)
    last.write_bytes(whole[:place] + bytes(len(stored)) + whole[place + len(stored) :])
    assert any(stored)
    with caplog.at_level(logging.WARNING):
        assert latest_checkpoint(tmp_path) == previous
    assert "is corrupt (checksum of " in caplog.text


def test_a_flipped_bit_anywhere_falls_back_to_the_previous_one(tmp_path, last):
    previous = last.with_name("last.previous.ckpt")
    write_checkpoint(previous, 2)
    content = {"state_dict": {"a": torch.arange(9.0)}, "global_step": 4, RECORD_KEY: {"b": ["c"]}}
    AtomicCheckpointIO().save_checkpoint(content, last)
    whole = last.read_bytes()
    with zipfile.ZipFile(last) as archive:
        pickled = archive.read(next(name for name in archive.namelist() if "data.pkl" in name))
    start = whole.index(pickled)
    for place in range(start, start + len(pickled)):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        last.write_bytes(changed)
        assert latest_checkpoint(tmp_path) == previous, place


def test_a_corrupt_checkpoint_without_a_previous_one_is_an_error(tmp_path, last):
    last.write_bytes(b"")
    with pytest.raises(ValueError, match=r"last\.ckpt is corrupt or not a checkpoint"):
        latest_checkpoint(tmp_path)


def test_a_run_killed_between_two_renames_resumes_from_the_previous_one(tmp_path, last):
    previous = last.with_name("last.previous.ckpt")
    last.rename(previous)
    assert latest_checkpoint(tmp_path) == previous


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("write")])
def test_a_failed_write_keeps_the_earlier_checkpoint(last, monkeypatch, error):
    def write(content, file):
        file.write(b"the beginning")
        raise error

    monkeypatch.setattr(torch, "save", write)
    with pytest.raises(ValueError, match=r"^cannot save .*last\.ckpt \(.*\). Make room for it"):
        write_checkpoint(last, 6)
    assert step_of(last) == 4
    assert list(last.parent.iterdir()) == [last]
