import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.helpers.running import running
from w2v2_mt.core.workers import Workers

PARENT = """
import os
from w2v2_mt.core.workers import Workers

def wait(number):
    print(f"{os.getpid()}\\n", end="", flush=True)
    open(os.environ["FIFO"], "rb").read()  # no one ever writes there

if __name__ == "__main__":
    with Workers(2) as workers:
        list(workers.answers(wait, [1, 2]))
"""


SIGNALLED = """
import os, signal
from w2v2_mt.core.workers import Workers

def wait(number):
    os.mkfifo(f"fifo{number}")
    print("waiting\\n", end="", flush=True)
    open(f"fifo{number}", "rb").read()
    return number

if __name__ == "__main__":
    def receive(number, _):
        os.write(1, f"received {number}\\n".encode())  # print() may be interrupted by the next one

    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, receive)
    with Workers(2) as workers:
        print(*sorted(workers.answers(wait, [1, 2])))
"""


@pytest.fixture
def signalled(tmp_path):
    (tmp_path / "parent.py").write_text(SIGNALLED)
    with running(
        [sys.executable, "parent.py"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["waiting\n"] * 2
        yield parent
        parent.kill()


def test_workers_leave_signals_of_their_group_to_the_process_that_started_them(
    signalled, tmp_path
) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
        os.killpg(signalled.pid, number)
        assert signalled.stdout.readline() == f"received {int(number)}\n"
    for fifo in (1, 2):
        (tmp_path / f"fifo{fifo}").write_bytes(b"")
    assert signalled.stdout.read() == "1 2\n"


def test_ctrl_c_ends_workers_at_once_and_without_their_tracebacks(signalled) -> None:
    os.killpg(signalled.pid, signal.SIGINT)
    printed = signalled.stdout.read()
    assert printed.splitlines()[-1] == "KeyboardInterrupt"
    assert "Process" not in printed.replace("ProcessPool", "").replace("concurrent", "")
    assert printed.count("Traceback") == 1


def doubled(number: int) -> int:
    return 2 * number


def inverted(number: int) -> float:
    return 1 / number


def killed(number: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("num_workers", [0, 1, 2])
def test_each_task_is_answered_once(num_workers: int) -> None:
    with Workers(num_workers) as workers:
        for start in (0, 20):
            found = list(workers.answers(doubled, range(start, start + 20)))
            assert sorted(found) == list(range(2 * start, 2 * start + 40, 2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_error_of_a_task_comes_through(num_workers: int) -> None:
    with Workers(num_workers) as workers, pytest.raises(ZeroDivisionError):
        list(workers.answers(inverted, [1, 0, 1]))


def test_a_worker_that_is_killed_is_one_sentence() -> None:
    with Workers(1) as workers, pytest.raises(OSError, match="a worker was killed from outside"):
        list(workers.answers(killed, [1]))


def test_tasks_are_made_as_workers_get_free() -> None:
    made: list[int] = []

    def tasks() -> Iterator[int]:
        for number in range(1000):
            made.append(number)
            yield number

    with Workers(1) as workers:
        found = workers.answers(doubled, tasks())
        next(found)
        assert len(made) < 10
        found.close()


def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "parent.py").write_text(PARENT)
    with running(
        [sys.executable, tmp_path / "parent.py"],
        env={**os.environ, "FIFO": str(tmp_path / "fifo")},
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        for _ in range(2):
            assert int(parent.stdout.readline()) > 0
        parent.kill()
        # The pipe ends when the last process that could write to it has ended.
        assert parent.stdout.read() == ""


def test_workers_start_without_importing_torch() -> None:
    # Each of many workers would take seconds and 400 MB for it.
    imports = "import sys, w2v2_mt.prepare.manifest_corpus, w2v2_mt.prepare.voxceleb"
    check = "print([name for name in ('torch', 'av', 'scipy') if name in sys.modules])"
    command = [sys.executable, "-c", f"{imports}; {check}"]
    assert subprocess.run(command, capture_output=True, text=True).stdout == "[]\n"
