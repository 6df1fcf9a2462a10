"""Processes that do independent pieces of work and end when the one that started them ends."""

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from itertools import islice
from multiprocessing import resource_tracker
from typing import TypeVar

from w2v2_mt.core.stop_signals import hold_stop_signals, leave_stop_signals_to_parent

Task = TypeVar("Task")
Answer = TypeVar("Answer")

FORK_IF_POSSIBLE = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
"""A process that is forked has imported everything already, and needs no memory for it."""


class Workers(ExitStack):
    """A pool of processes, which start at once; with 0, this process does the work.

    Args:
        num_workers: The number of processes.
        start_method: The way to start them, as in `multiprocessing`.
        prepare: Called in each process before its work.
    """

    def __init__(
        self,
        num_workers: int,
        *,
        start_method: str = "spawn",
        prepare: Callable[[], object] | None = None,
    ) -> None:
        super().__init__()
        self.num_workers = num_workers
        if num_workers > 0:
            # Python counts semaphores in a process whose start makes this one receive SIGINT again.
            with hold_stop_signals():
                resource_tracker.ensure_running()
            self._pool = ProcessPoolExecutor(
                num_workers,
                mp_context=multiprocessing.get_context(start_method),
                initializer=_start_worker,
                initargs=(prepare,),
            )
            self.callback(self._pool.shutdown, wait=True, cancel_futures=True)
            self.push(self._end_at_once)
            with hold_stop_signals():
                for _ in range(num_workers):
                    self._pool.submit(os.getpid)
        elif prepare is not None:
            prepare()

    def begin(self, work: Callable[[Task], Answer], task: Task) -> "Future[Answer]":
        """Begin a task and return its answer to come, which `answer_of` waits for."""
        if self.num_workers == 0:
            done: Future[Answer] = Future()
            done.set_result(work(task))
            return done
        with hold_stop_signals(), _explain_death():  # The pool may start a worker only now.
            return self._pool.submit(work, task)

    def answer_of(self, future: "Future[Answer]") -> Answer:
        """Return the answer to a task; an OSError says that a worker was killed."""
        with _explain_death():
            return future.result()

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
                    running.add(self.begin(work, task))
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                yield from map(self.answer_of, finished)
        finally:
            for future in running:
                future.cancel()

    def _end_at_once(self, kind: type[BaseException] | None, *_: object) -> None:
        """Do not wait for running tasks after Ctrl-C."""
        if kind is not None and not issubclass(kind, Exception):
            for process in self._pool._processes.values():
                process.terminate()


@contextmanager
def _explain_death() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool as error:
        raise OSError(
            "a worker was killed from outside, perhaps for want of memory; run the same command "
            "again, with a smaller num_workers if there are many."
        ) from error


def _start_worker(prepare: Callable[[], object] | None) -> None:
    leave_stop_signals_to_parent()
    if prepare is not None:
        prepare()
