import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.running import running
from w2v2_mt.prepare.work_folder import RECORD_FILE, produce, temporary

RECORD = {"record": "first"}
RUN_WITH_A_WORKER = """
import multiprocessing
import sys
from pathlib import Path
from w2v2_mt.prepare.work_folder import at_work

def wait():
    print("waits", flush=True)
    open(sys.argv[2]).read()

def worker(is_late):
    work = Path(sys.argv[1])
    if is_late:
        wait()
    with at_work(work):
        if not is_late:
            wait()
        (work / "written").touch()

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=worker, args=[len(sys.argv) > 3])
    process.start()
    process.join()
"""


@contextmanager
def killed_run(folder: Path, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """One whose worker waits until somebody opens `folder/fifo`, and then writes a file."""
    (folder / ".partial").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "run.py").write_text(RUN_WITH_A_WORKER)
    command = [sys.executable, "run.py", ".partial", "fifo", *arguments]
    with running(command, cwd=folder, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "waits\n"
        run.kill()
        run.wait()
        yield run


def made(
    folder: Path, *, record: str = "first", overwrite: bool = False, stops: bool = False
) -> bool:
    """Two folders with a file each; the second file counts how often the work was taken up."""

    def fill(work: Path) -> bool:
        for name in ("one", "two"):
            (work / name).mkdir(exist_ok=True)
        with open(work / "one" / "record", "a") as file:
            file.write(record)
        if stops:
            raise KeyboardInterrupt
        (work / "two" / "record").write_text(record)
        return True

    result = produce(
        [folder / "one", folder / "two"],
        work=folder / ".partial",
        record={"record": record},
        overwrite=overwrite,
        fill=fill,
    )
    return result is not None


def stopped_by_hand(*arguments: object) -> None:
    raise KeyboardInterrupt


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


def test_another_record_starts_again(tmp_path: Path) -> None:
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


@pytest.fixture
def open_when_removed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files of a folder that are open when it is removed, which on NFS would stay there."""
    found: list[str] = []
    remove = shutil.rmtree

    def watched(folder: Path, *arguments: object, **options: object) -> None:
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(FileNotFoundError):  # that of the listing itself
                name = os.readlink(descriptor)
                if name.startswith(f"{folder}/"):
                    found.append(name)
        remove(folder, *arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", watched)
    return found


def test_no_file_is_open_when_the_folder_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_when_removed: list[str]
) -> None:
    made(tmp_path)
    with temporary(tmp_path / ".temporary"):
        pass
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", stopped_by_hand)
        with pytest.raises(KeyboardInterrupt):
            made(tmp_path, record="second", overwrite=True)
    assert not made(tmp_path, record="second")
    assert open_when_removed == []
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
        assert sorted(path.name for path in work.iterdir()) == ["lock", "workers_lock"]
        (work / "new").mkdir()
        with pytest.raises(ValueError, match="another process is at work in"), temporary(work):
            pass
        assert (work / "new").exists()
    assert not work.exists()


def test_the_worker_of_a_killed_run_is_waited_for(tmp_path: Path) -> None:
    found: list[bool] = []

    def fill(work: Path) -> None:
        found.append((work / "written").exists())
        (work / "one").mkdir()

    def go_on() -> None:
        targets, work = [tmp_path / "one"], tmp_path / ".partial"
        produce(targets, work=work, record=RECORD, overwrite=False, fill=fill)

    with killed_run(tmp_path), ThreadPoolExecutor() as threads:
        (tmp_path / ".partial" / RECORD_FILE).write_text(json.dumps(RECORD, indent=1) + "\n")
        gone_on = threads.submit(go_on)
        (tmp_path / "fifo").write_text("")
        gone_on.result()
    assert found == [True]


def test_a_worker_that_comes_after_its_run_was_killed_ends_at_once(tmp_path: Path) -> None:
    with killed_run(tmp_path, "late") as run:
        (tmp_path / "fifo").write_text("")
        assert run.stdout is not None
        assert run.stdout.read() == ""  # the pipe ends when the worker has ended
    assert not (tmp_path / ".partial" / "written").exists()
