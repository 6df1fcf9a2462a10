import csv
import logging
import os
import socket
import subprocess
import threading
from contextlib import contextmanager, nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import wandb

from tests.helpers.wandb_files import wandb_files
from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.app.loggers import WandbLogger, open_loggers
from w2v2_mt.settings.environment import PROJECT_FOLDER

KEY = "5ec2e7" * 7
CONFIG = {
    "use_wandb": True,
    "project_name": "p",
    "experiment_name": "e",
    "tag": ["a", "b"],
    "fit_model": True,
}


@pytest.fixture(autouse=True)
def account(monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "wandb_config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "wandb_cache"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    yield
    wandb.teardown()  # It reads the environment once for each process.


@pytest.fixture
def start(small_overrides):
    def run_command(*overrides: str, **environment: str):
        arguments = small_overrides("train_speech", "use_wandb=true", *overrides)
        process = WarmCommand(
            ["run_speech.py", *arguments],
            cwd=PROJECT_FOLDER,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment},
        )
        output, errors = process.communicate(timeout=600)
        return subprocess.CompletedProcess(overrides, process.wait(), output, errors)

    return run_command


def open_in(folder: Path, **settings):
    config = {**CONFIG, **settings}
    return open_loggers(config, folder, num_steps_done=0, command="train_speech", sweep=None)


def files_with_the_key(folder: Path) -> list[Path]:
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert len(paths) > 10
    return [path for path in paths if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(("tag", "expected"), [(None, []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_a_tag_is_none_one_or_several(tmp_path, monkeypatch, tag, expected):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_in(tmp_path, tag=tag) as (_, _, wandb_logger):
        wandb_logger.log_metrics({"train_loss": 1.0}, step=0)
    wandb.teardown()  # The file is complete when the service has ended.
    assert list(wandb_files(tmp_path)[0].run.tags) == expected


def test_the_jobs_of_a_sweep_are_runs_of_a_group_with_all_that_is_worth_showing(start, tmp_path):
    sweep = tmp_path / "my_sweep"
    result = start(
        "hydra.mode=MULTIRUN",
        "optim.algo.lr=0.001,0.002",
        "tag=[first,second]",
        f"hydra.sweep.dir={sweep}",
        "hydra.sweep.subdir=${hydra.job.num}",
        WANDB_MODE="offline",
        WANDB_ENTITY="some-team",
    )
    assert result.returncode == 0, result.stderr
    assert f"wandb sync {sweep}/0/wandb/offline-run-*" in result.stdout
    runs = []
    for number in (0, 1):
        folder = sweep / str(number)
        (file,) = wandb_files(folder)
        runs.append(file)
        assert file.run.run_group == "my_sweep"
        assert (file.run.entity, file.run.project) == ("some-team", "w2v2-mt")
        assert file.run.job_type == "train"
        assert list(file.run.tags) == ["first", "second"]
        assert file.run.run_id == (folder / "wandb_id").read_text()
        commit = subprocess.check_output(
            ["git", "rev-parse", "HEAD"], cwd=PROJECT_FOLDER, text=True
        )
        assert file.run.git.commit == commit.strip()
        assert file.config["git_commit"].startswith(commit.strip())
        assert file.config["optim"]["algo"]["lr"] == 0.001 * (number + 1)
        assert file.config["trainer"]["max_steps"] == 2
        with (folder / "metrics.csv").open(newline="") as csv_file:
            rows = [row for row in csv.DictReader(csv_file) if row["train_loss"]]
        losses = {int(row["step"]): pytest.approx(float(row["train_loss"])) for row in rows}
        assert file.values("train_loss") == losses
        assert len(losses) == 2
        lines = (folder / "transcripts_other.tsv").read_text().splitlines()
        table = file.table("transcripts/other")
        assert [table["columns"], *table["data"]] == [line.split("\t") for line in lines]
        assert "tables/Word errors, test" in file.media()
        pictures = {name for name in file.media() if name.startswith("pictures/")}
        assert pictures == {f"pictures/{path.stem}" for path in (folder / "report").glob("*.png")}
        assert all((file.folder / "files" / path).is_file() for path in file.media().values())
        assert file.summary["tested_step"] == 2
        assert file.exit_code == 0
    assert runs[0].run.run_id != runs[1].run.run_id
    (of_sweep,) = wandb_files(sweep)
    assert (of_sweep.run.run_group, of_sweep.run.job_type) == ("my_sweep", "sweep")
    assert list(of_sweep.run.tags) == ["first", "second"]
    assert [row[:3] for row in of_sweep.table("tables/All jobs, metrics in %")["data"]] == [
        ["0", "done", "0.001"],
        ["1", "done", "0.002"],
    ]
    pictures = {name for name in of_sweep.media() if name.startswith("pictures/")}
    assert (
        pictures == {f"pictures/{path.stem}" for path in (sweep / "report").glob("*.png")} != set()
    )
    assert f"Report: {sweep}/report/index.html" in result.stdout
    assert not files_with_the_key(tmp_path)
    assert KEY not in result.stdout + result.stderr


def test_a_server_that_cannot_be_reached_stops_no_training(start, tmp_path):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # Nobody listens.
        result = start(
            f"hydra.run.dir={tmp_path}/run",
            "eval_model=false",
            WANDB_BASE_URL=f"http://127.0.0.1:{bound.getsockname()[1]}",
            WANDB_INIT_TIMEOUT="1",
        )
    assert result.returncode == 0, result.stderr
    output = result.stdout + result.stderr
    assert "wandb cannot be reached (" in output
    assert f"wandb sync {tmp_path}/run/wandb/offline-run-*" in output, output
    assert "Traceback" not in output
    (file,) = wandb_files(tmp_path / "run")
    assert list(file.values("train_loss")) == [0, 1]
    assert file.exit_code == 0
    assert not files_with_the_key(tmp_path)
    assert KEY not in output


def test_a_run_resumes_as_the_same_wandb_run_and_logs_how_it_ended(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    for error in (ValueError(), SystemExit(140), KeyboardInterrupt(), None):
        expected = nullcontext() if error is None else pytest.raises(type(error))
        with expected, open_in(tmp_path) as (_, _, wandb_logger):
            wandb_logger.log_metrics({"train_loss": 1.0}, step=3)
            if error is not None:
                raise error
        # Starts of the same second would share a folder.
        begun = tmp_path / "wandb" / Path(os.readlink(tmp_path / "wandb" / "latest-run")).name
        begun.rename(begun.with_name(f"offline-run-{len(list(begun.parent.glob('offline-*')))}-x"))
    wandb.teardown()  # The last file is complete when the service has ended.
    files = wandb_files(tmp_path)
    assert [file.exit_code for file in files] == [1, 140, 1, 0]
    assert {file.run.run_id for file in files} == {(tmp_path / "wandb_id").read_text()}
    assert [file.values("train_loss") for file in files] == [{3: 1.0}] * 4


@contextmanager
def server_that_answers(status: int):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            answer = b'{"errors": [{"message": "user is not logged in"}]}'
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_an_account_that_the_server_refuses_is_reported_in_a_sentence(tmp_path, monkeypatch):
    with server_that_answers(401) as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        with (
            pytest.raises(ValueError, match=r"^wandb cannot log the run .*user is not logged in"),
            open_in(tmp_path),
        ):
            pass


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [("WANDB_API_KEY", "short", "API key"), ("WANDB_BASE_URL", "nonsense", "base_url: .*URL")],
)
def test_what_wandb_cannot_use_is_reported_in_a_sentence(tmp_path, monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)
    with (
        pytest.raises(ValueError, match=rf"^wandb cannot log the run \(.*{told}.*WANDB_MODE=of"),
        open_in(tmp_path),
    ):
        pass


def test_a_wandb_that_is_switched_off_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with open_in(tmp_path) as (_, _, wandb_logger):
        wandb_logger.log_metrics({"train_loss": 1.0}, step=0)
    assert not list(tmp_path.rglob("*.wandb"))


class BrokenRun:
    num_calls = 0

    def define_metric(self, *_, **__):
        pass

    def log(self, _):
        self.num_calls += 1
        raise BrokenPipeError("the service is gone")


def test_a_wandb_failure_is_reported_once_and_ignored_afterwards(caplog):
    run = BrokenRun()
    logger = WandbLogger(run)
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            logger.log_metrics({"train_loss": 1.0}, step=step)
        logger.finish(0)
    assert [record.getMessage() for record in caplog.records] == [
        "wandb does not log the run any longer: the service is gone"
    ]
    assert run.num_calls == 1
