"""The resources of the machine that DataLoader workers need, compared with what there is."""

import os
import resource
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import queues
from multiprocessing.connection import Listener
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing import reductions

from w2v2_mt.core.limits import size_in_mib
from w2v2_mt.core.padding import MAX_BYTES_BY_VALUE
from w2v2_mt.core.terminal import print_visible

SHARED_MEMORY = Path("/dev/shm")

_NUM_PREFETCHED = 2
"""The batches that a DataLoader requests of each worker in advance."""
_NUM_IN_USE = 2
"""The batch of the present step, and the next one, which Lightning has fetched."""
_NUM_TENSORS = 1
"""The tensors of a batch in shared memory, each of which is an open file as long as it exists."""
_NUM_OTHER_FILES = 100
"""Libraries, logs, the network connections of loggers, and shards."""
_BYTES_OF_SAMPLE = 4
_MANY_FILES = 65_536


@dataclass(frozen=True, kw_only=True)
class WorkerDemand:
    """The resources that the DataLoaders of one task ask for in one process.

    Args:
        train_num_samples: The audio samples of the largest training batch; 0 without training.
        eval_num_samples: Those of the largest batch of an evaluation.
        num_evaluations: The number of DataLoaders for evaluations.
    """

    num_workers: int
    train_num_samples: int
    eval_num_samples: int
    num_evaluations: int

    @property
    def train_bytes(self) -> int:
        """The shared memory of training batches that wait at the same time."""
        return self._bytes(self.train_num_samples)

    @property
    def eval_bytes(self) -> int:
        """The shared memory of batches of one evaluation that wait at the same time."""
        return self._bytes(self.eval_num_samples)

    @property
    def num_files(self) -> int:
        """The number of pipes of all workers, and of tensors of training batches."""
        # A worker has both ends of a pipe and a sign of its end; each DataLoader has one pipe.
        num_loaders = self.num_evaluations + (self.train_num_samples > 0)
        of_loaders = num_loaders * (3 * self.num_workers + 2) if self.num_workers else 0
        return of_loaders + _NUM_TENSORS * self._num_batches

    @property
    def _num_batches(self) -> int:
        return self.num_workers and _NUM_PREFETCHED * self.num_workers + _NUM_IN_USE

    def _bytes(self, num_samples: int) -> int:
        return self._num_batches * num_samples * _BYTES_OF_SAMPLE


def find_shortages(
    demands: Sequence[WorkerDemand],
    *,
    num_processes: int,
    shared_memory: Path = SHARED_MEMORY,
    max_num_files: int | None = None,
) -> Iterator[str]:
    """Yield a sentence for each resource of which the workers may need more than there is.

    Args:
        num_processes: The number of processes of the run on this machine.
        max_num_files: The number of files that a process may open. None: the limit of this process.

    Raises:
        ValueError: The folder of temporary files cannot be used, without which no worker can pass
            on a batch.
    """
    if not any(demand.num_workers for demand in demands):
        return
    _check_temporary_folder()
    num_bytes = num_processes * (
        sum(demand.train_bytes for demand in demands)
        # The sets are evaluated one after the other, while training batches wait.
        + max(demand.eval_bytes for demand in demands)
    )
    status = os.statvfs(shared_memory)
    num_free = status.f_bavail * status.f_frsize
    if num_bytes > num_free:
        yield (
            f"DataLoader workers may need {size_in_mib(num_bytes)} of shared memory, but "
            f"{shared_memory} has {size_in_mib(num_free)} left. Raise it, in a container with "
            "--shm-size=8g, lower num_workers or the size of batches, or set num_workers=0."
        )
    limit = (
        resource.getrlimit(resource.RLIMIT_NOFILE)[0] if max_num_files is None else max_num_files
    )
    num_files = _NUM_OTHER_FILES + sum(demand.num_files for demand in demands)
    if num_files > limit:
        yield (
            f"DataLoader workers may need {num_files} open files, but this process may open "
            f"{limit}. Raise the limit with `ulimit -n {_MANY_FILES}`, or lower num_workers."
        )


def _check_temporary_folder() -> None:
    """Open a socket in the folder of temporary files, as a worker does to pass on a batch."""
    try:
        Listener(family="AF_UNIX").close()
    except OSError as error:
        folder = tempfile.tempdir or "no folder"
        raise ValueError(
            f"the folder of temporary files ({folder}) cannot be used ({error}). Set TMPDIR to a "
            "folder with a short path and some free space, such as /tmp, or set num_workers=0."
        ) from error


def pass_small_tensors_by_value() -> None:
    """Let this DataLoader worker copy small tensors into the pipe through which it passes batches.

    A tensor in shared memory takes a file, and a connection over which the file is passed.
    """
    ForkingPickler.register(Tensor, _reduce_tensor)


def _reduce_tensor(tensor: Tensor) -> tuple[Any, ...]:
    if tensor.nbytes > MAX_BYTES_BY_VALUE:
        return reductions.reduce_tensor(tensor)
    return torch.from_numpy, (tensor.numpy(),)


def end_worker_that_cannot_pass_on() -> None:
    """Let this DataLoader worker end if it cannot pass on a batch, for which others would wait."""
    queues.Queue._on_queue_feeder_error = staticmethod(_end_worker)  # type: ignore[attr-defined]


def _end_worker(error: Exception, _: Any) -> None:
    print_visible(
        f"a DataLoader worker cannot pass on a batch ({type(error).__name__}: {error})",
        to_stderr=True,
    )
    os._exit(1)
