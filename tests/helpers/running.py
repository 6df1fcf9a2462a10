"""A process that a test talks to while it runs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def running(command: list[Any], **options: Any) -> Iterator["subprocess.Popen[Any]"]:
    """Start a process and wait for its end; kill it if the test fails, which would else wait."""
    with subprocess.Popen(command, **options) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise
