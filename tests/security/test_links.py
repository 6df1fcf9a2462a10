"""Folders that somebody else prepared: nothing outside of them is written or removed."""

import json
import os

import pytest
import torch
import wandb
from hydra.conf import HydraConf
from omegaconf import OmegaConf

from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.app.loggers import open_loggers, start_wandb
from w2v2_mt.app.sweep_callback import NoteSweep
from w2v2_mt.core.atomic_output import make_folder, replace_text
from w2v2_mt.report.run_report import write_report
from w2v2_mt.report.sweep_report import write_sweep_report
from w2v2_mt.runs.run_record import (
    check_run_folder,
    write_metrics,
    write_setting,
    write_test_outputs,
)
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.training.checkpoints import AtomicCheckpointIO
from w2v2_mt.training.curves_logger import CurvesLogger

SECRET = "of the user\n"


@pytest.fixture
def outside(tmp_path):
    """A folder that no command was given, with one file and one picture."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text(SECRET)
    (folder / "photo.png").write_bytes(b"\x89PNG of the user")
    return folder


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.yaml").write_text("seed: 1\n")
    return folder


@pytest.fixture(autouse=True)
def nothing_outside_is_changed(outside):
    yield
    assert {path.name for path in outside.iterdir()} == {"file", "photo.png"}
    assert (outside / "file").read_text() == SECRET
    assert (outside / "photo.png").read_bytes() == b"\x89PNG of the user"


def test_a_page_replaces_links_and_does_not_follow_them(run, outside):
    report = run / "report"
    report.mkdir()
    rows = ["step,train_loss,lr-Adam", "0,1,1", "1,2,1"]
    (run / "metrics.csv").write_text("\n".join(rows) + "\n")
    for name in ("index.html", "training_loss.png", "learning_rate.png"):
        (report / name).symlink_to(outside / "file")
        (report / f".{name}.part").symlink_to(outside / "file")
    (report / "photo.png").symlink_to(outside / "photo.png")
    (report / "new.png").symlink_to(outside / "new.png")
    (report / "notes.png").write_bytes(b"of the user")
    write_report(run)
    assert not (report / "index.html").is_symlink()
    assert "Run" in (report / "index.html").read_text()
    assert (report / "learning_rate.png").read_bytes().startswith(b"\x89PNG\r")
    assert (report / "photo.png").is_symlink()
    assert (report / "notes.png").read_bytes() == b"of the user"


@pytest.mark.parametrize("kind", ["run", "sweep"])
def test_a_report_folder_that_is_a_link_is_refused(run, outside, kind):
    folder = run
    if kind == "sweep":
        folder = run.parent
        (folder / "0").mkdir()
        (folder / "0" / "config.yaml").write_text("seed: 1\n")
    (folder / "report").symlink_to(outside)
    write = {"run": write_report, "sweep": write_sweep_report}[kind]
    with pytest.raises(ValueError, match=r"report is a link to .*outside, and files are only"):
        write(folder)


def test_a_metric_names_no_file_outside(run, outside):
    names = ("val_wer_/../../../outside/X", "val_wer_/../../../../outside/X")
    for number in range(2):
        job = run.parent / "sweep" / str(number)
        job.mkdir(parents=True)
        config = {"optim": {"algo": {"lr": 10.0**-number}}}
        (job / "config.yaml").write_text(json.dumps(config))
        (job / "metrics.json").write_text(json.dumps(dict.fromkeys(names, 0.5)))
    report = write_sweep_report(run.parent / "sweep")
    written = {path.name for path in report.path.parent.iterdir()}
    assert written == {"index.html", *(f"{each.name}.png" for each in report.pictures)}
    assert len(report.pictures) == 2
    assert {path.name for path in run.parent.iterdir()} == {"outside", "run", "sweep"}


@pytest.mark.parametrize("name", ["config.yaml", "overrides", "environment.json"])
def test_settings_replace_links(run, outside, name):
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(outside / "file")
    write_setting(run, config={"seed": 1, "gpus": 0}, overrides=["seed=1"])
    assert not (run / name).is_symlink()


def test_results_replace_links_and_remove_only_files(run, outside):
    for name in ("metrics.json", "scores_o.txt", "transcripts_a.tsv"):
        (run / name).symlink_to(outside / "file")
    (run / "errors_by_user.tsv").mkdir()
    (run / "scores_e.txt").write_text("1 0.5 a b\n")
    write_test_outputs(run, {"scores_o.txt": ["1 0.5 a b"], "transcripts_../../outside/x.tsv": []})
    write_metrics(run, {"tested_step": 1})
    assert (run / "scores_o.txt").read_text() == "1 0.5 a b\n"
    assert json.loads((run / "metrics.json").read_text()) == {"tested_step": 1}
    assert (run / "transcripts_a.tsv").is_symlink()
    assert (run / "errors_by_user.tsv").is_dir()
    assert not (run / "scores_e.txt").exists()
    assert (run / "transcripts_.._.._outside_x.tsv").is_file()


def test_curves_replace_links(run, outside):
    (run / "metrics.csv").symlink_to(outside / "file")
    (run / ".metrics.csv.part").symlink_to(outside / "file")
    logger = CurvesLogger(run, num_steps_done=0)
    for step in range(20):
        logger.log_metrics({"train_loss": 1.0}, step=step)
    assert len((run / "metrics.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize("name", ["checkpoints", "report", "tensorboard", "wandb"])
def test_a_run_refuses_folders_that_are_links(run, outside, name):
    (run / name).symlink_to(outside)
    with pytest.raises(ValueError, match=f"{name} is a link"):
        check_run_folder(run)


def test_tensorboard_settings_are_not_written_through_a_link(run, outside):
    (run / "tensorboard").mkdir()
    (run / "tensorboard" / "hparams.yaml").symlink_to(outside / "new")
    check_run_folder(run)
    settings = {"use_wandb": False}
    with open_loggers(settings, run, num_steps_done=0, command="x", sweep=None) as loggers:
        loggers[1].save()
    assert (run / "tensorboard" / "hparams.yaml").is_file()


def test_checkpoints_replace_links_and_only_checkpoints_are_removed(run, outside):
    writer = AtomicCheckpointIO()
    folder = run / "checkpoints"
    folder.mkdir()
    path = folder / "last.ckpt"
    path.symlink_to(outside / "file")
    (folder / ".last.ckpt.part").symlink_to(outside / "file")
    writer.save_checkpoint({"step": 1}, path)
    assert torch.load(path, weights_only=True) == {"step": 1}
    # Names of earlier checkpoints are read from a checkpoint.
    for other in (outside, outside / "file", folder / ".." / ".." / "outside" / "file", folder):
        writer.remove_checkpoint(other)
    assert path.exists()
    writer.remove_checkpoint(path)
    assert not path.exists()
    folder.rmdir()
    folder.symlink_to(outside)
    with pytest.raises(ValueError, match="checkpoints is a link"):
        writer.save_checkpoint({"step": 1}, path)


def test_wandb_writes_no_id_or_folder_through_a_link(run, outside):
    (run / "wandb").symlink_to(outside)
    with pytest.raises(ValueError, match="wandb is a link"):
        start_wandb(run, tags=None, config={})


@pytest.mark.parametrize("where", ["", "0", "0/checkpoints"])
@pytest.mark.parametrize("name", ["wandb", ".wandb"])
def test_a_handed_over_folder_does_not_name_the_server_of_wandb(run, monkeypatch, where, name):
    folder = run / where
    (folder / name).mkdir(parents=True)
    (folder / name / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(wandb, "init", None)
    with pytest.raises(ValueError, match=rf"/{name}/settings must not exist, because wandb would"):
        start_wandb(run / "0", tags=None, config={}, group="run")


def test_wandb_reads_no_settings_and_follows_no_link_in_a_run_folder(run, outside, monkeypatch):
    (run / "wandb").mkdir()
    (run / "wandb" / "settings").write_text("[default]\nbase_url = http://127.0.0.1:9\n")
    (run / ".wandb").symlink_to(outside)
    monkeypatch.chdir(run.parent)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(run.parent / "wandb_config"))
    started = start_wandb(run, tags=None, config={}, project="p", name="n", group=None)
    assert "127.0.0.1" not in started.settings.base_url
    assert started.settings.sync_dir.startswith(str(run / "wandb"))
    started.finish()
    wandb.teardown()


def test_hydra_writes_its_files_through_no_link(run, outside):
    config = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    config.hydra.run.dir = config.hydra.sweep.dir = str(run)
    (run / ".hydra").mkdir()
    (run / ".hydra" / "config.yaml").symlink_to(outside / "file")
    (run / "multirun.yaml").symlink_to(outside / "file")
    (run / "0").mkdir()
    (run / "0" / ".hydra").symlink_to(outside)
    NoteSweep().on_run_start(config)
    assert not (run / ".hydra" / "config.yaml").exists()
    assert not (run / "multirun.yaml").exists()
    with pytest.raises(SystemExit, match=r"0/\.hydra is a link"):
        NoteSweep().on_multirun_start(config)


@pytest.mark.parametrize("name", ["0", "lr=1", "group/lr=1"])
def test_the_folder_of_a_job_is_no_link(run, outside, name):
    config = OmegaConf.create({"hydra": OmegaConf.structured(HydraConf)})
    config.hydra.sweep.dir = str(run)
    config.hydra.sweep.subdir = name
    (run / name).parent.mkdir(exist_ok=True)
    (run / name).symlink_to(outside)
    with pytest.raises(SystemExit, match=f"{name} is a link"):
        NoteSweep().on_multirun_start(config)


def test_a_sweep_in_a_prepared_folder_writes_through_no_link(run, outside, small_overrides):
    (run / "multirun.yaml").symlink_to(outside / "file")
    (run / "0" / ".hydra").mkdir(parents=True)
    files = [run / "0" / ".hydra" / f"{name}.yaml" for name in ("config", "hydra", "overrides")]
    for file in files:
        file.symlink_to(outside / "file")
    sweep = (f"hydra.sweep.dir={run}", "hydra.mode=MULTIRUN", "fit_model=false", "eval_model=false")
    process = WarmCommand(
        ["run_speech.py", *small_overrides("train_speech", *sweep)],
        cwd=PROJECT_FOLDER,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    output, errors = process.communicate(timeout=600)
    assert process.wait() == 0, output + errors
    for file in (run / "multirun.yaml", *files):
        assert file.is_file()
        assert not file.is_symlink()


def test_an_unfinished_file_is_not_opened_through_a_link(tmp_path, outside):
    (tmp_path / ".new.part").symlink_to(outside / "file")
    replace_text(tmp_path / "new", "text")
    assert (tmp_path / "new").read_text() == "text"


def test_a_folder_is_made_unless_it_is_a_link(tmp_path, outside):
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a")
    (tmp_path / "b").symlink_to(outside / "none")
    with pytest.raises(ValueError, match="Replace the link by a folder"):
        make_folder(tmp_path / "b")
