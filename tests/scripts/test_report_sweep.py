"""The command that reports a sweep."""

import subprocess
import sys
from pathlib import Path

from tests.helpers.sweep_folders import make_sweep

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "report_sweep.py"


def report_of(*arguments: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_its_tables_are_printed_with_each_job_on_a_line(tmp_path):
    sweep = tmp_path / "sweep"
    make_sweep(sweep)
    result = report_of(sweep)
    assert result.returncode == 0, result.stderr
    cells = [line.replace("│", " ").split() for line in result.stdout.splitlines()]
    assert ["0", "done", "1e-05", "mean", "20.00", "12.50", "6.25", "50.00", "25.00"] in cells
    assert ["2", "failed", "1e-05", "first+cls", "1.00", "2.00", "3.00", "-", "-"] in cells
    assert result.stdout.splitlines()[-1] == f"Report: {sweep}/report/index.html"
    assert (sweep / "report" / "index.html").exists()


def test_what_is_wrong_is_one_sentence(tmp_path):
    result = report_of(tmp_path)
    assert result.returncode == 1
    assert result.stderr == (
        f"Error: {tmp_path} is not a sweep folder, which holds a folder for each job (0, 1, ..). "
        "Give the parent folder of the jobs.\n"
    )


def test_a_missing_folder_setting_is_answered_with_how_to_set_it():
    for arguments in ((), ("a", "b")):
        result = report_of(*arguments)
        assert result.returncode == 2
        assert "w2v2-mt report sweep" in result.stdout + result.stderr
    result = report_of("--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "also while its jobs run" in result.stdout
