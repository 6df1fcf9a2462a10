"""What may break around a run while it goes on, told in a sentence."""

import errno
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_DEAD_READER = re.compile(r"DataLoader worker \(pid\S* [\d, ]+\) (.+?)\.? *$", flags=re.MULTILINE)

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)

_FETCHING = "torch/multiprocessing/reductions.py"


@contextmanager
def faults_in_sentences() -> Iterator[None]:
    """Raises ValueError for the end of a process that reads data, and for a full disk."""
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            raise ValueError(
                f"a file of the run cannot be written ({error}); make room for it and start the "
                "run again in its folder, where it goes on from its last checkpoint."
            ) from error
        what = _end_of_reader(error)
        if what is None:
            raise
        raise ValueError(
            f"a process that reads data {what}, as happens where memory runs out; start the run "
            "again in its folder, where it goes on from its last checkpoint."
        ) from error


def _end_of_reader(error: BaseException) -> str | None:
    """What PyTorch says of it, in a signal handler: so in the midst of anything.

    What was interrupted may have taken it for a fault of its own.
    """
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, RuntimeError) and (match := _DEAD_READER.match(str(found))):
            return match[1]
        if isinstance(found, OSError | EOFError) and _fetches_a_tensor(found):
            # Its last batch still waits in the queue, but its memory was to be asked for from it.
            return "has ended"
        found = found.__cause__ or found.__context__
    return None


def _fetches_a_tensor(error: BaseException) -> bool:
    frames = traceback.extract_tb(error.__traceback__)
    return any(frame.filename.endswith(_FETCHING) for frame in frames)
