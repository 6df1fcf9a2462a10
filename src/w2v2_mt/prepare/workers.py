"""Processes that do independent pieces of work and end when the one that started them ends."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import islice
from multiprocessing import resource_tracker
from typing import TypeVar

from w2v2_mt.core.stop_signals import hold_stop_signals, leave_stop_signals_to_parent

Task = TypeVar("Task")
Answer = TypeVar("Answer")


class Workers(ExitStack):
    """A pool of processes, which start at once; with 0, this process does the work."""

    def __init__(self, num_workers: int) -> None:
        super().__init__()
        self.num_workers = num_workers
        if num_workers > 0:
            # Python counts semaphores in a process whose start makes this one receive SIGINT again.
            with hold_stop_signals():
                resource_tracker.ensure_running()
            self._pool = ProcessPoolExecutor(
                num_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=leave_stop_signals_to_parent,
            )
            self.callback(self._pool.shutdown, wait=True, cancel_futures=True)
            self.push(self._end_at_once)
            with hold_stop_signals():
                for _ in range(num_workers):
                    self._pool.submit(os.getpid)

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
                    with hold_stop_signals():  # The pool may start a worker only now.
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

    def _end_at_once(self, kind: type[BaseException] | None, *_: object) -> None:
        """Do not wait for running tasks after Ctrl-C."""
        if kind is not None and not issubclass(kind, Exception):
            for process in self._pool._processes.values():
                process.terminate()
