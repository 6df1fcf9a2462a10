"""Errors addressed to the user and the exit codes of commands."""

import errno
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from w2v2_mt.core.terminal import print_visible

INTERRUPTED = 130
"""Exit code after Ctrl-C; a larger code is that of another signal, as a shell counts them."""


ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError)
"""Errors of the standard library for archives that are corrupt or truncated."""


class OutputExistsError(ValueError):
    """A refusal to replace an earlier result; it leaves no trace in the folder."""


def error_chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of that, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def name_in_errors(path: Path) -> Iterator[None]:
    """Give a failed read or write within the context the name of its file if it has none."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def describe(error: BaseException) -> str:
    """Return the sentence for bad input or a failed read or write, with the file and the remedy."""
    match error:
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"the disk is full ({error}). Free some space and run the same command again, "
                "which resumes from here."
            )
        case OSError(errno=errno.EMFILE | errno.ENFILE):
            return (
                f"this process may not open more files ({error}). Raise the limit with "
                "`ulimit -n 65536`, and run the same command again."
            )
        case PermissionError():
            return (
                f"access to {error.filename} is denied ({error.strerror}). Change its permissions "
                "or choose another folder (DATA_FOLDER for data)."
            )
        case OSError(errno=errno.EROFS):
            return (
                f"{error.filename} is on a read-only disk ({error.strerror}). Choose another "
                "folder (DATA_FOLDER for data)."
            )
        case OSError(errno=int(), strerror=reason):
            return (
                f"{error.filename or 'a file'} cannot be read or written ({reason}). Check the "
                "path, the disk and the network, and run the same command again."
            )
        case ValueError() | OSError():
            return str(error)
    return (
        f"a compressed file is corrupt or truncated ({error or 'it ends early'}). Get the files of "
        "this command again."
    )


@contextmanager
def exit_with_sentence(
    *, after_interrupt: str = "The same command resumes from here."
) -> Iterator[None]:
    """Turn bad input and Ctrl-C into one sentence on stderr and the exit code of a command.

    Args:
        after_interrupt: What Ctrl-C leaves, as a sentence.

    Raises:
        SystemExit: 1 after bad input or a failed read or write, 130 after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        print_visible(f"Stopped. {after_interrupt}", to_stderr=True)
        raise SystemExit(INTERRUPTED) from error
    except (ValueError, OSError, *ARCHIVE_ERRORS) as error:
        print_visible(f"Error: {describe(error)}", to_stderr=True)
        raise SystemExit(1) from error
