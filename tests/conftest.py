"""What every test may use, the options of the tests, and their seed."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings

ALL_RATES = "--all-rates"
SEED = 0

# On a busy machine an example may take longer than the limit that is usual.
settings.register_profile("seeded", derandomize=True, deadline=None)
settings.load_profile("seeded")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        ALL_RATES,
        action="store_true",
        help="run the sweeps of the README with each learning rate, not the outer ones alone",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seed before the fixtures, so that a test sees the same numbers whatever ran before it."""
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real speech beside the project; a test that needs it is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the folder of real speech {folder} does not exist")
    return folder
