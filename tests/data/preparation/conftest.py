import shutil

import pytest


@pytest.fixture
def ffmpeg() -> str:
    """The command, where it is installed."""
    path = shutil.which("ffmpeg")
    if path is None:
        pytest.skip("ffmpeg is not installed")
    return path
