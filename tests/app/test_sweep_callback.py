import pytest
from omegaconf import OmegaConf

from tests.helpers.sweep_folders import make_sweep
from w2v2_mt.app.sweep_callback import NoteSweep, forget_sweep, report_sweep


@pytest.fixture
def sweep(tmp_path):
    """The folder of a sweep that this process has begun."""
    folder = tmp_path / "sweep"
    make_sweep(folder)
    hydra = {"sweep": {"dir": str(folder), "subdir": "0"}, "output_subdir": ".hydra"}
    config = OmegaConf.create({"hydra": hydra, "use_wandb": False})
    NoteSweep().on_multirun_start(config, config_name="train_speech")
    yield folder
    forget_sweep()


def test_a_sweep_is_reported_once(sweep, capsys):
    report_sweep()
    assert f"Report: {sweep}/report/index.html\n" in capsys.readouterr().out
    assert (sweep / "report" / "index.html").is_file()
    report_sweep()
    assert capsys.readouterr().out == ""


def test_a_command_that_began_no_sweep_reports_none(capsys):
    report_sweep()
    assert capsys.readouterr() == ("", "")


def test_a_sweep_that_was_refused_is_not_reported(sweep):
    forget_sweep()
    report_sweep()
    assert not (sweep / "report").exists()


def test_of_several_processes_the_first_reports(sweep, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    report_sweep()
    assert not (sweep / "report").exists()


def test_jobs_in_folders_without_numbers_are_not_called_not_started(sweep, capsys):
    for folder in [path for path in sweep.iterdir() if path.is_dir()]:
        folder.rename(sweep / f"job_{folder.name}")
    report_sweep()
    assert capsys.readouterr().out == ""


def test_a_file_that_cannot_be_read_is_a_sentence(sweep, capsys):
    (sweep / "multirun.yaml").write_text("[")
    report_sweep()
    error = capsys.readouterr().err
    assert error.startswith(f"The report of the sweep is not complete: {sweep}/multirun.yaml")
    assert error.count("\n") == 1
