import subprocess
import sys

from w2v2_mt.app.doctor import __main__ as doctor
from w2v2_mt.app.environment import PROJECT_FOLDER


def test_the_command_tells_gaps_first_changes_nothing_and_needs_no_torch(tmp_path):
    code = (
        "import runpy, sys\n"
        "sys.argv = ['doctor']\n"
        "try:\n    runpy.run_module('w2v2_mt.app.doctor', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0, end.code\n"
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
    assert "$ apt-get install ffmpeg" in done.stdout
    assert lines[-1].startswith("ok  ")
    assert list(tmp_path.iterdir()) == []


def test_a_python_that_runs_nothing_is_the_exit_code(monkeypatch, capsys):
    old = doctor.programs.python((3, 9, 1))
    monkeypatch.setattr(doctor, "findings", lambda: iter([old]))
    monkeypatch.setattr("sys.argv", ["doctor"])
    assert doctor.main() == 1
    assert "3.9.1, not 3.10 to 3.13" in capsys.readouterr().out
