"""Form the group of the processes of a run within a limited time, or end with a sentence."""

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning.strategies import DDPStrategy

from w2v2_mt.core.stop_signals import heeded_stop_signals
from w2v2_mt.core.terminal import print_visible

log = logging.getLogger(__name__)


class TimelyDDPStrategy(DDPStrategy):
    """Data-parallel training whose processes must find each other within a time.

    Args:
        rendezvous_timeout_sec: The time in seconds.
        options: Those of Lightning's strategy.
    """

    def __init__(self, *, rendezvous_timeout_sec: float, **options: Any) -> None:
        super().__init__(**options)
        self.rendezvous_timeout_sec = rendezvous_timeout_sec

    def setup_distributed(self) -> None:
        """Form the process group."""
        environment = self.cluster_environment
        assert environment is not None
        place = f"{environment.main_address}:{environment.main_port}"
        processes = f"{self.num_nodes * self.num_processes} processes"
        problem = (
            f"the {processes} of this run have not found each other at {place} within "
            f"{self.rendezvous_timeout_sec:g} s. Check that all were started and that MASTER_ADDR "
            "and MASTER_PORT can be reached, or set trainer.rendezvous_timeout_sec."
        )
        with _end_after(self.rendezvous_timeout_sec, problem):
            log.info(f"waiting for all {processes} at {place}")
            super().setup_distributed()


@contextmanager
def _end_after(seconds: float, problem: str) -> Iterator[None]:
    """End this process if the context lasts longer, and let stop signals end it at once.

    torch waits in C++, where Python's handlers of signals are not called.
    """

    def end() -> None:
        print_visible(f"Error: {problem}", to_stderr=True)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    # Those of a launcher that queues a job again are left to it.
    former = {
        number: signal.signal(number, signal.SIG_DFL)
        for number in heeded_stop_signals()
        if number not in (signal.SIGUSR1, signal.SIGUSR2)
    }
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        for number, handler in former.items():
            signal.signal(number, handler)
