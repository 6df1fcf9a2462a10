"""Turn failures of the machine during a run into one sentence for the user."""

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from w2v2_mt.core.errors import error_chain

_DEAD_WORKER = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (.+?)\.? *$", flags=re.MULTILINE)


@contextmanager
def user_errors() -> Iterator[None]:
    """Raise a ValueError for a DataLoader worker that died and for a full disk."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ValueError(
                f"a file of the run cannot be written ({error}). Make room for it and start the "
                "run again in its folder, where it resumes from its last checkpoint."
            ) from error
        cause = _death_of_worker(error)
        if cause is None:
            raise
        raise ValueError(
            f"a DataLoader worker {cause}, which happens if memory runs out. Start the run again "
            "in its folder, where it resumes from its last checkpoint."
        ) from error


def _death_of_worker(error: BaseException) -> str | None:
    # PyTorch raises the error in a signal handler, so anywhere, and the interrupted code may have
    # turned it into another error.
    for found in error_chain(error):
        if isinstance(found, RuntimeError) and (match := _DEAD_WORKER.match(str(found))):
            return match[1]
        if isinstance(found, OSError | EOFError) and any(
            frame.filename.endswith("torch/multiprocessing/reductions.py")
            for frame in traceback.extract_tb(found.__traceback__)
        ):
            # Its last batch is in the queue, but the worker that shares its memory is dead.
            return "has ended"
    return None
