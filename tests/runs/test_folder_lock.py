"""Locks of folders: two processes never write to one, and a lock of a dead one is no obstacle."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from tests.helpers.running import running
from w2v2_mt.core.errors import OutputExistsError
from w2v2_mt.runs import folder_lock
from w2v2_mt.runs.folder_lock import LOCK_FILE, Holder, locked

HOLD = """
import sys, time
from pathlib import Path
from w2v2_mt.runs.folder_lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other_process(tmp_path):
    """A process that holds the lock until it is killed or its standard input is closed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipe = subprocess.PIPE
    with running(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def write_lock(folder, holder, *, age_sec=0.0):
    lock = folder / LOCK_FILE
    lock.write_text(json.dumps(asdict(holder)))
    os.utime(lock, times=(time.time() - age_sec, time.time() - age_sec))


def elsewhere(**changes):
    return replace(Holder.of_this_process(), machine="another", host="node7", **changes)


def is_free(folder):
    try:
        with locked(folder):
            return True
    except OutputExistsError:
        return False


def test_a_locked_folder_is_refused_and_its_process_is_named(other_process, tmp_path):
    with pytest.raises(OutputExistsError) as error, locked(tmp_path):
        pass
    assert f"{tmp_path} is in use by process {other_process.pid} on " in str(error.value)
    assert str(tmp_path / LOCK_FILE) in str(error.value)


def test_a_lock_is_released_at_its_end_and_leaves_no_file(other_process, tmp_path):
    other_process.communicate()
    assert not list(tmp_path.iterdir())
    assert is_free(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_process_that_holds_a_lock_gets_it_again(tmp_path):
    with locked(tmp_path):
        with locked(tmp_path):
            pass
        assert (tmp_path / LOCK_FILE).exists()
    assert not (tmp_path / LOCK_FILE).exists()


def test_a_lock_is_released_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())


def test_the_lock_of_a_killed_process_is_taken_over(other_process, tmp_path):
    other_process.send_signal(signal.SIGKILL)
    other_process.wait()
    assert (tmp_path / LOCK_FILE).exists()
    assert is_free(tmp_path)


def test_a_process_that_is_dead_but_not_yet_waited_for_holds_nothing(other_process, tmp_path):
    other_process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, other_process.pid, os.WEXITED | os.WNOWAIT)
    assert is_free(tmp_path)


def test_a_process_id_that_is_used_again_does_not_hold_the_lock(tmp_path):
    start = folder_lock._read_start(os.getppid())
    parent = replace(Holder.of_this_process(), pid=os.getppid(), start=start)
    write_lock(tmp_path, parent)
    assert not is_free(tmp_path)
    write_lock(tmp_path, replace(parent, start=start - 1))
    assert is_free(tmp_path)


def test_a_lock_of_another_machine_holds_while_it_is_renewed(tmp_path, monkeypatch):
    write_lock(tmp_path, elsewhere(), age_sec=200)
    assert not is_free(tmp_path)
    write_lock(tmp_path, elsewhere(), age_sec=400)
    assert is_free(tmp_path)
    monkeypatch.setattr(folder_lock, "_BEAT_SEC", 0.01)
    with locked(tmp_path):
        lock = tmp_path / LOCK_FILE
        os.utime(lock, times=(0, 0))
        while lock.stat().st_mtime == 0:
            os.sched_yield()


def test_a_job_that_slurm_queued_again_takes_its_own_lock_over(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    before = elsewhere(job="17", restart=0)
    write_lock(tmp_path, before)
    assert not is_free(tmp_path)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert is_free(tmp_path)
    write_lock(tmp_path, replace(before, job="18"))
    assert not is_free(tmp_path)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"host": "x"}', json.dumps(asdict(elsewhere()) | {"pid": "../1"}), "[" * 99_999],
    ids=["empty", "list", "part", "path", "deep"],
)
def test_a_file_that_names_no_process_holds_for_the_time_that_its_writing_takes(tmp_path, content):
    lock = tmp_path / LOCK_FILE
    lock.write_text(content)
    assert not is_free(tmp_path)
    os.utime(lock, times=(1, 1))
    assert is_free(tmp_path)


def test_a_wait_ends_when_the_folder_is_free(other_process, tmp_path):
    other_process.stdin.close()
    with locked(tmp_path, wait_sec=60):
        pass


def _count(folder, start, was_alone):
    start.wait()
    try:
        with locked(folder):
            mark = folder / "mark"
            mark.touch(exist_ok=False)
            os.sched_yield()
            mark.unlink()
            was_alone.put(True)
    except OutputExistsError:
        was_alone.put(None)
    except OSError:
        was_alone.put(False)


def test_of_many_processes_that_find_a_dead_lock_only_one_at_a_time_gets_in(tmp_path):
    context = multiprocessing.get_context("fork")
    for round_number in range(20):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        write_lock(folder, elsewhere(), age_sec=400)
        start, was_alone = context.Event(), context.Queue()
        processes = [
            context.Process(target=_count, args=(folder, start, was_alone)) for _ in range(6)
        ]
        for process in processes:
            process.start()
        start.set()
        results = [was_alone.get(timeout=300) for _ in processes]
        for process in processes:
            process.join()
        assert True in results
        assert False not in results
