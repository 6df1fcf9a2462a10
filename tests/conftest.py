"""What every test may use, and the options of the tests."""

from pathlib import Path

import pytest

ALL_RATES = "--all-rates"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        ALL_RATES,
        action="store_true",
        help="run the sweeps of the README with each learning rate, not the outer ones alone",
    )


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real speech beside the project; a test that needs it is skipped without it."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"the folder of real speech {folder} does not exist")
    return folder
