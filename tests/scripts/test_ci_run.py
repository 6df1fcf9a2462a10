"""`.ci/run` fails for a failed check, a failed test, and a test that was skipped."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = "apt-get ffmpeg curl chromium slurmctld sbatch munged".split()

pytestmark = pytest.mark.programs("bash", "dirname", "mktemp")

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def status(tmp_path):
    """Return the exit status and errors of .ci/run for a given result of checks and tests."""

    def run(*, tests: str, checks: str = "exit 0", **variables: str) -> tuple[int, str]:
        for folder in (".ci", "scripts"):
            (tmp_path / folder).mkdir(exist_ok=True)
        shutil.copy(PROJECT / ".ci" / "run", tmp_path / ".ci")
        for name, body in (("check.sh", checks), ("test.sh", tests)):
            script = tmp_path / "scripts" / name
            script.write_text(f"#!/usr/bin/env bash\n{body}\n")
            script.chmod(0o755)
        # Stand-ins, so that nothing is ever installed on the machine of the tests.
        commands = tmp_path / "commands"
        commands.mkdir(exist_ok=True)
        for name in PROGRAMS:
            (commands / name).write_text(f"#!/usr/bin/env bash\necho {name} >&2\nexit 99\n")
            (commands / name).chmod(0o755)
        path = f"{commands}:{os.environ['PATH']}"
        result = subprocess.run(
            [tmp_path / ".ci" / "run"],
            env={**os.environ, "PATH": path, "WITHOUT_REAL_SPEECH": "", **variables},
            capture_output=True,
            text=True,
        )
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


def test_real_speech_may_be_missing_only_if_that_is_expected(status):
    skip = "SKIPPED [1] tests/a.py:7: the folder of real speech /s does not exist"
    other = "SKIPPED [1] tests/a.py:7: ffmpeg is not installed"
    assert status(tests=f"echo '{skip}'", WITHOUT_REAL_SPEECH="1") == (0, "")
    assert status(tests=f"echo '{other}'", WITHOUT_REAL_SPEECH="1")[0] == 1


def test_a_failed_test_is_an_error(status):
    assert status(tests="echo '1 failed'; exit 1")[0] == 1


def test_a_failed_check_is_an_error(status):
    assert status(checks="exit 1", tests="exit 0")[0] == 1


def test_unit_tests_run_with_python_git_and_bash_alone_before_the_others(status, tmp_path):
    record = 'echo "$PYTEST_ADDOPTS; $(ls "${TEST_PATH##*:}" | tr "\\n" " ")" >>"$RECORD"'
    runs = tmp_path / "runs"
    assert status(tests=f"{record}\n: ", RECORD=str(runs), TEST_PATH="") == (0, "")
    first, second = runs.read_text().splitlines()
    assert first == "-m unit; bash git "
    assert second.startswith("-m 'not unit'; ")
