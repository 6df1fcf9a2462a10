"""What stands in the way of a change: a check, a test, or a test that was skipped."""

import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def status(tmp_path):
    """Exit status and errors of .ci/run for a given end of the checks and of the tests."""

    def run(*, tests: str, checks: str = "exit 0") -> tuple[int, str]:
        for folder in (".ci", "scripts"):
            (tmp_path / folder).mkdir()
        shutil.copy(PROJECT / ".ci" / "run", tmp_path / ".ci")
        for name, body in (("check.sh", checks), ("test.sh", tests)):
            script = tmp_path / "scripts" / name
            script.write_text(f"#!/usr/bin/env bash\n{body}\n")
            script.chmod(0o755)
        result = subprocess.run([tmp_path / ".ci" / "run"], capture_output=True, text=True)
        return result.returncode, result.stderr

    return run


def test_all_is_well_when_only_tests_of_a_gpu_are_skipped(status):
    skip = "SKIPPED [2] tests/models/test_a.py:7: this machine has no GPU"
    assert status(tests=f"echo '{skip}'; echo '5 passed, 2 skipped'") == (0, "")


def test_all_is_well_without_a_skip(status):
    assert status(tests="echo '5 passed'") == (0, "")


def test_any_other_reason_to_skip_is_an_error(status):
    skip = "SKIPPED [1] tests/GPU/test_a.py:7: the folder of real speech /s does not exist"
    code, errors = status(tests=f"echo '{skip}'")
    assert code == 1
    assert errors.endswith(f"another reason than a missing GPU:\n{skip}\n")


def test_a_failed_test_is_an_error(status):
    assert status(tests="echo '1 failed'; exit 1")[0] == 1


def test_a_failed_check_is_an_error(status):
    assert status(checks="exit 1", tests="exit 0")[0] == 1
