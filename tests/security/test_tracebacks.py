"""Errors that no command expects: their tracebacks show the words of others as escapes."""

import re
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from tests.security.test_markup import ESCAPES
from w2v2_mt.app.commands import main
from w2v2_mt.app.main import launch
from w2v2_mt.core.terminal import visible
from w2v2_mt.training.process_launch import run_in_processes


def fail(*_: object, **__: object) -> float | None:
    raise RuntimeError(f"file {ESCAPES}")


@pytest.fixture
def check_printed(capfd):
    """Asserts that stderr has the traceback of `fail`, and control characters nowhere."""

    def check() -> None:
        printed = capfd.readouterr()
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", printed.out + printed.err)
        assert "Traceback" in printed.err
        assert "in fail\n" in printed.err
        assert f"RuntimeError: file {visible(ESCAPES)}\n" in printed.err

    return check


def test_a_command_shows_the_traceback_of_an_unexpected_error(monkeypatch, tmp_path, check_printed):
    monkeypatch.setattr("w2v2_mt.report.run_report.write_report", fail)
    assert main(["report", "run", str(tmp_path)]) == 1
    check_printed()


@pytest.mark.parametrize("flags", [[], ["-m", "hydra/launcher=basic"]])
def test_a_run_shows_the_traceback_of_an_unexpected_error(
    monkeypatch, small_overrides, check_printed, flags
):
    monkeypatch.setattr(sys, "argv", ["run_speech.py", *flags, *small_overrides("train_speech")])
    with pytest.raises(SystemExit) as end:
        launch("train_speech", run=fail)
    GlobalHydra.instance().clear()
    assert end.value.code == 1
    check_printed()


def test_hydra_names_a_wrong_setting_of_its_own_without_a_traceback(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run_speech.py", f'hydra.job.num="{ESCAPES}"'])
    with pytest.raises(SystemExit) as end:
        launch("train_speech")
    GlobalHydra.instance().clear()
    sentence = str(end.value.code)
    assert sentence.startswith("Error merging override hydra.job.num=")
    assert "could not be converted to Integer" in sentence
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", sentence)


def test_a_process_of_a_run_shows_the_traceback_of_an_unexpected_error(check_printed):
    with pytest.raises(ValueError, match="^RuntimeError: file"):
        run_in_processes(fail, 1)
    check_printed()
