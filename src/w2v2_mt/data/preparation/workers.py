"""Processes that do independent pieces of work and end when the one that started them ends."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from itertools import islice
from multiprocessing.connection import wait as wait_for_any
from typing import TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")


def default_num_workers() -> int:
    """One for each CPU core that this process may use."""
    return len(os.sched_getaffinity(0))


def answers(
    work: Callable[[Task], Answer], tasks: Iterable[Task], *, num_workers: int
) -> Iterator[Answer]:
    """Yield the answer to each task as soon as it is there; 0 workers: in this process, in order.

    Tasks are taken only as workers get free, so they may be made on the way.
    """
    if num_workers == 0:
        yield from map(work, tasks)
        return
    remaining = iter(tasks)
    pool = ProcessPoolExecutor(
        num_workers, mp_context=multiprocessing.get_context("spawn"), initializer=_end_with_parent
    )
    try:
        running = {pool.submit(work, task) for task in islice(remaining, 2 * num_workers)}
        while running:
            finished: set[Future[Answer]]
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            running |= {pool.submit(work, task) for task in islice(remaining, len(finished))}
            for future in finished:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_with_parent() -> None:
    """A process that is killed cannot end its workers, and a worker that waits would wait on."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end() -> None:
        wait_for_any([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
