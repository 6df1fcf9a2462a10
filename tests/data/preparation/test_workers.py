import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from w2v2_mt.data.preparation.workers import Workers

PARENT = """
import os
from w2v2_mt.data.preparation.workers import Workers

def wait(number):
    print(os.getpid(), flush=True)
    open(os.environ["FIFO"], "rb").read()  # no one ever writes there

if __name__ == "__main__":
    with Workers(2) as workers:
        list(workers.answers(wait, [1, 2]))
"""


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
    with subprocess.Popen(
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
