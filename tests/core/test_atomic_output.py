import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from w2v2_mt.core.atomic_output import atomic_output, atomic_replacement, check_is_new


def test_a_file_appears_when_it_is_complete_and_nothing_next_to_it(tmp_path):
    path = tmp_path / "a" / "b" / "new.txt"
    with atomic_output(path) as written:
        written.write_text("half")
        assert not path.exists()
        written.write_text("whole")
    assert path.read_text() == "whole"
    assert [*path.parent.iterdir()] == [path]
    assert [each.name for each in tmp_path.iterdir()] == ["a"]


def test_a_folder_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_output(tmp_path / "new") as written:
        written.mkdir()
        (written / "part").touch()
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["new", "new/part"]


def write(path: Path, then: Callable[[], object]) -> None:
    """Half a folder, and then something happens."""
    with atomic_output(path) as written:
        written.mkdir()
        (written / "part").touch()
        then()


def fail(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt()])
def test_nothing_is_left_after_an_error_not_even_the_folders_above(tmp_path, error):
    with pytest.raises(type(error)):
        write(tmp_path / "a" / "new", lambda: fail(error))
    assert not [*tmp_path.iterdir()]


def test_nothing_is_left_after_a_signal_to_end(tmp_path):
    former = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "new", lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert not [*tmp_path.iterdir()]
    assert signal.getsignal(signal.SIGTERM) is former


def test_a_failed_write_is_one_sentence(tmp_path):
    (tmp_path / "a.wav").touch()
    sentence = r"a\.wav/new cannot be written \(Not a directory\)\. Make room for it, or name"
    with pytest.raises(ValueError, match=sentence):
        write(tmp_path / "a.wav" / "new", lambda: None)
    full = OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(
        ValueError, match=r"new cannot be written \(No space left on device\)\. Make"
    ):
        write(tmp_path / "new", lambda: fail(full))
    assert [path.name for path in tmp_path.iterdir()] == ["a.wav"]


def test_a_file_that_appeared_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "new"
    with pytest.raises(ValueError, match="new exists already. Name a new folder"):
        write(path, lambda: path.write_text("theirs"))
    assert path.read_text() == "theirs"
    assert [*tmp_path.iterdir()] == [path]


def test_a_link_to_nothing_is_not_replaced(tmp_path):
    (tmp_path / "new").symlink_to("missing")
    with pytest.raises(ValueError, match="new exists already. Name a new folder, or move this one"):
        check_is_new(tmp_path / "new", "folder")


def test_a_replacement_is_the_former_file_until_the_new_one_is_complete(tmp_path):
    path = tmp_path / "state"
    path.write_text("former")
    with atomic_replacement(path) as part:
        part.write_text("new")
        assert path.read_text() == "former"
    assert path.read_text() == "new"
    assert [*tmp_path.iterdir()] == [path]


def test_a_failed_replacement_leaves_the_former_file_alone(tmp_path):
    path = tmp_path / "state"
    path.write_text("former")

    def write_half() -> None:
        with atomic_replacement(path) as part:
            part.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "former"
    assert [*tmp_path.iterdir()] == [path]


def test_a_replaced_link_is_not_followed(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / "state"
    outside.write_text("theirs")
    path.symlink_to(outside)
    with atomic_replacement(path) as part:
        part.write_text("ours")
    assert (outside.read_text(), path.read_text(), path.is_symlink()) == ("theirs", "ours", False)
