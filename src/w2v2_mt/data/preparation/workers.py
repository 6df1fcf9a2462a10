"""Processes that do independent pieces of work and end when the one that started them ends."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing.connection import wait as wait_for_any
from types import TracebackType
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def default_num_workers() -> int:
    """One for each CPU core that this process may use."""
    return len(os.sched_getaffinity(0))


class Workers:
    """So many processes, which start at once, to be ready when there is work; 0: this one works."""

    def __init__(self, num_workers: int) -> None:
        self.num_workers = num_workers

    def __enter__(self) -> "Workers":
        if self.num_workers > 0:
            self._pool = ProcessPoolExecutor(
                self.num_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_end_with_parent,
            )
            for _ in range(self.num_workers):
                self._pool.submit(os.getpid)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.num_workers > 0:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def answers(
        self, work: Callable[[Task], Answer], tasks: Iterable[Task]
    ) -> Generator[Answer, None, None]:
        """Yield the answer to each task as soon as it is there; without workers, in order.

        Tasks are taken only as workers get free, so they may be made on the way. Raises OSError
        where a worker is killed.
        """
        if self.num_workers == 0:
            yield from map(work, tasks)
            return
        remaining = iter(tasks)
        running: set[Future[Answer]] = set()
        try:
            while True:
                for task in islice(remaining, 2 * self.num_workers - len(running)):
                    running.add(self._pool.submit(work, task))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        except BrokenProcessPool as error:
            raise OSError(
                "a worker was killed from outside, perhaps for want of memory; run the same "
                "command again, with fewer --num_workers if there are many."
            ) from error
        finally:
            for future in running:
                future.cancel()


def _end_with_parent() -> None:
    """A process that is killed cannot end its workers, and a worker that waits would wait on."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        wait_for_any([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
