"""Start scripts of this project in processes that have already imported it.

The import of torch, Lightning and transformers takes longer than the two steps that most tests
train. One server for all tests of a process imports them once and forks for each command. What a
command does at its import, such as its answer to a typo, is tested with a new interpreter.
"""

import atexit
import fcntl
import multiprocessing
import os
import runpy
import signal
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import TextIO

IMPORTED = ["w2v2_mt.app.main", "w2v2_mt.app.run", "w2v2_mt.report.pictures"]

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(IMPORTED)


class WarmCommand:
    """A script in a process of its own; it has what the tests use of `subprocess.Popen`.

    With `leads_group` it starts a process group, as `setsid` and `timeout` do for a command.
    Both outputs are text. Errors go to the file `stderr`, or to `stdout` if they are not apart.
    With `columns`, its stdout is a terminal of this width, whose end is an OSError on Linux.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        env: Mapping[str, str],
        are_errors_apart: bool = True,
        leads_group: bool = False,
        columns: int | None = None,
    ):
        self._reader: Thread | None = None
        self._rest = ""
        if columns is None:
            receiver, sender = _server.Pipe(duplex=False)
        else:
            receiver, sender = map(Connection, os.openpty())
            fcntl.ioctl(sender.fileno(), termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
        self._errors = _new_file() if are_errors_apart else None
        # The server is started by the first command and keeps its variables.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        self._process = _server.Process(
            target=_run,
            args=(list(arguments), str(cwd), dict(env), sender, self._errors, leads_group),
        )
        self._process.start()
        sender.close()
        self.stdout: TextIO = os.fdopen(os.dup(receiver.fileno()), "r")
        receiver.close()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> "WarmCommand":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stdout.close()
        self.wait()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code, negative for a signal; too long a time is a TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("a warm command", timeout or 0)
        return self._process.exitcode

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Return what was printed but not yet read and, if they are apart, all errors."""
        if self._reader is None:
            self._reader = Thread(target=self._read, daemon=True)
            self._reader.start()
        self._reader.join(timeout)
        if self._reader.is_alive():
            raise subprocess.TimeoutExpired("a warm command", timeout or 0)
        self.wait()
        return self._rest, "" if self._errors is None else self._errors.read_text()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _read(self) -> None:
        self._rest = self.stdout.read()


def _new_file() -> Path:
    number, path = tempfile.mkstemp()
    os.close(number)
    atexit.register(os.remove, path)
    return Path(path)


def _run(
    arguments: list[str],
    folder: str,
    variables: dict[str, str],
    output: Connection,
    errors: Path | None,
    leads_group: bool,
) -> None:
    """Run a script as Python would, in a process that was just forked."""
    if leads_group:
        os.setpgid(0, 0)
    os.dup2(output.fileno(), 1)
    os.dup2(1 if errors is None else os.open(errors, os.O_WRONLY), 2)
    output.close()
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        stream.reconfigure(line_buffering=True)
        assert stream.fileno() == number
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = arguments
    sys.path.insert(0, folder)
    multiprocessing.set_start_method(None, force=True)
    runpy.run_path(arguments[0], run_name="__main__")
