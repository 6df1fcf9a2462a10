import subprocess
import sys

import pytest

from w2v2_mt.app.commands import main
from w2v2_mt.app.doctor import machine
from w2v2_mt.settings.environment import PROJECT_FOLDER


def test_the_command_prints_gaps_first_changes_nothing_and_needs_no_torch(tmp_path):
    code = (
        "import sys\n"
        "from w2v2_mt.app.commands import main\n"
        "assert main(['doctor']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={
            "PATH": "",
            "PYTHONPATH": str(PROJECT_FOLDER / "src"),
            "HOME": str(tmp_path),
            "DATA_FOLDER": str(tmp_path / "data"),
        },
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("missing  ")
    assert "$ apt-get install curl" in done.stdout
    assert lines[-1].startswith("ok  ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("version", "exit_code"), [((3, 9, 1), 1), ((3, 10, 0), 0)])
def test_the_exit_code_is_1_if_python_is_not_supported(capsys, monkeypatch, version, exit_code):
    monkeypatch.setattr(machine, "check_machine", lambda: [machine.check_python(version)])
    assert main(["doctor"]) == exit_code
    assert ("3.9.1, not 3.10 to 3.13" in capsys.readouterr().out) is (exit_code == 1)
