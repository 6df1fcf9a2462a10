"""Options, markers, seed and shared fixtures of all tests."""

import random
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

pytest_plugins = ["tests.helpers.run_fixtures"]

TESTS_FOLDER = Path(__file__).parent
ALL_RATES = "--all-rates"
SEED = 0

INTEGRATION_FOLDERS = {"app", "end_to_end", "golden", "parity", "scripts"}
"""Folders of tests that start commands or compare with other programs."""
INTEGRATION_FILES = {
    "prepare/test_stopping.py",
    "report/test_pages_in_browser.py",
    "report/test_run_report.py",
    "synthetic/test_corpus.py",
    "tasks/test_combinations.py",
    "tasks/test_one_evaluation.py",
    "tasks/test_overfit.py",
    "tasks/test_several_processes.py",
    "tasks/test_third_task.py",
    "training/test_lr_range_test.py",
    "training/test_user_errors.py",
    "training/callbacks/test_nonfinite_losses.py",
    "training/callbacks/test_overfit.py",
    "training/callbacks/test_step_profile.py",
    "models/test_device_waits.py",
}
"""Files of tests that train networks, start processes or draw whole reports."""
LONG_FILES = {
    "end_to_end/test_run_mt_speech_speaker.py",
    "end_to_end/test_slurm.py",
    "tasks/test_combinations.py",
}
"""Files whose tests take minutes."""
INTEGRATION_FIXTURES = {"ffmpeg", "run_command", "shared_folder", "start_command", "train"}
"""Fixtures that start commands, train networks or read real speech."""

# On a busy machine an example may take longer than the default limit.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


def pytest_configure() -> None:
    # A shell starts a command in its background to ignore Ctrl-C, and all its children with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        ALL_RATES,
        action="store_true",
        help="run the documented sweeps with each learning rate, not only the first",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test as unit or integration by its folder, file, fixtures and marker slow.

    Long files come first, so that no process works on one alone at the end.
    """
    items.sort(key=lambda item: item.path.relative_to(TESTS_FOLDER).as_posix() not in LONG_FILES)
    for item in items:
        path = item.path.relative_to(TESTS_FOLDER)
        fixtures = INTEGRATION_FIXTURES.intersection(getattr(item, "fixturenames", ()))
        if item.get_closest_marker("integration") is None:
            is_unit = (
                path.parts[0] not in INTEGRATION_FOLDERS
                and path.as_posix() not in INTEGRATION_FILES
                and not fixtures
                and item.get_closest_marker("slow") is None
                and item.get_closest_marker("programs") is None
            )
            item.add_marker("unit" if is_unit else "integration")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Seed before the fixtures, so that a test draws the same numbers whatever ran before it."""
    for mark in item.iter_markers("programs"):
        for name in mark.args:
            if shutil.which(name) is None:
                pytest.skip(f"{name} is not installed")
    # Several tests write a package of a user under the same name, each with other classes.
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Return the folder of real speech next to the project; skip the test if there is none."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the folder of real speech {folder} does not exist")
    return folder
