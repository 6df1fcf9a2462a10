import multiprocessing
import os
import shutil
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture
def ffmpeg() -> str:
    """The command, where it is installed."""
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("ffmpeg is not installed")
    return path


@pytest.fixture
def run_that_was_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is as a worker whose run was killed; SystemExit is its end."""
    killed = SimpleNamespace(is_alive=lambda: False)
    monkeypatch.setattr(multiprocessing, "parent_process", lambda: killed)
    monkeypatch.setattr(os, "_exit", sys.exit)
