import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import ALL_RATES
from tests.golden.runs import replace_settings
from tests.helpers.documented_commands import PROJECT_FOLDER, Command
from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
from tests.helpers.slurm_cluster import PARTITION, answer, running_cluster, what_is_missing
from tests.helpers.warm_commands import WarmCommand

NUM_SMOKE_STEPS = 2

Metrics = dict[str, Any]


@pytest.fixture(scope="session")
def smoke_data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All shards, with utterances as short as the batches of the experiments are large.

    A speech batch holds up to 400 of them, a speaker batch 66.
    """
    folder = tmp_path_factory.mktemp("data")
    two_letters = ("AN", "IT", "OH", "US")
    write_librispeech_shards(folder, num_utterances=6, words=two_letters, max_num_words=1)
    write_voxceleb_shards(folder, min_samples=4_000, max_samples=6_000)
    return folder


@pytest.fixture
def run_smoke(
    smoke_data_folder: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> Iterator[Callable[[Command], list[Metrics]]]:
    """Runs a command as a smoke test and checks what it leaves; gives the metrics of each job."""
    log_folder = tmp_path / "logs"

    def run(command: Command) -> list[Metrics]:
        if not pytestconfig.getoption(ALL_RATES):
            command = command.with_first_rate
        exit_code, output = _run_to_its_end(command, smoke_data_folder, log_folder)
        assert exit_code == 0, output
        kind = "sweep" if command.is_sweep else "run"
        folders = sorted(
            (path.parent for path in log_folder.glob(f"w2v2-mt/{kind}/*/*/metrics.json")),
            key=lambda folder: int(folder.name) if command.is_sweep else folder.name,
        )
        assert len(folders) == len(command.jobs), output
        for folder, overrides in zip(folders, command.jobs, strict=True):
            _check_records(folder, overrides)
        return [json.loads((folder / "metrics.json").read_text()) for folder in folders]

    yield run
    shutil.rmtree(log_folder, ignore_errors=True)


def _run_to_its_end(command: Command, data_folder: Path, log_folder: Path) -> tuple[int, str]:
    """The exit code and all that was printed.

    A job's checkpoints, up to 300 MB, are removed when the next job says that it begins. A job that
    goes on behind the last step is ended.
    """
    environment = {
        **os.environ,
        "DATA_FOLDER": str(data_folder),
        "LOG_FOLDER": str(log_folder),
        "TEMP_FOLDER": str(log_folder),
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_OFFLINE": "1",
    }
    arguments = [command.script, *command.local_arguments, "+debug=smoke"]
    lines: list[str] = []
    running: Path | None = None
    with WarmCommand(
        arguments, cwd=PROJECT_FOLDER, env=environment, are_errors_apart=False
    ) as process:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("step ") and not line.startswith(f"step {NUM_SMOKE_STEPS}:"):
                process.kill()
            folder = Path(line.rpartition(": ")[2].strip())
            if folder.is_relative_to(log_folder) and folder.is_dir():
                if running is not None:
                    shutil.rmtree(running / "checkpoints")
                running = folder
    return process.wait(), "".join(lines)


def _meant(overrides: list[str]) -> set[str]:
    """Each override as Hydra understands it, whether it was typed `true` or `True`."""
    parsed = OverridesParser.create().parse_overrides(overrides)
    return {f"{override.get_key_element()}={override.value()}" for override in parsed}


def _check_records(folder: Path, overrides: list[str]) -> None:
    metrics = json.loads((folder / "metrics.json").read_text())
    checkpoint = metrics.pop("tested_checkpoint")
    assert checkpoint == str(folder / "checkpoints" / "best.ckpt")
    assert metrics["tested_step"] == NUM_SMOKE_STEPS
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    settings = yaml.safe_load((folder / "config.yaml").read_text())
    assert settings["network"]["wav2vec_huggingface_id"] == "smoke"
    told = (folder / "overrides").read_text().splitlines()
    typed = [*(text for text in overrides if "launcher" not in text), "+debug=smoke"]
    assert _meant(told) == _meant(typed)
    assert json.loads((folder / "environment.json").read_text())["seed"] == settings["seed"]
    assert "<h2>Result</h2>" in (folder / "report" / "index.html").read_text()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    problem = what_is_missing()
    if problem is not None:
        pytest.skip(problem)
    with running_cluster(tmp_path_factory.mktemp("slurm")):
        yield


@pytest.fixture
def start(start_sweep, cluster) -> Iterator[Callable]:
    """Starts a sweep on SLURM, and does not wait for it."""
    yield partial(start_sweep, "slurm")
    answer("scancel", f"--partition={PARTITION}")


@pytest.fixture
def start_here(start_sweep) -> Callable:
    """Starts a sweep on this machine, and does not wait for it."""
    return partial(start_sweep, "submitit_local")


@pytest.fixture
def start_sweep(smoke_data_folder, tmp_path) -> Iterator[Callable]:
    """Starts a sweep from another folder than the project's, and does not wait for it."""
    started: list[subprocess.Popen] = []

    def start_sweep(launcher: str, script: str, folder: Path, *overrides: str) -> subprocess.Popen:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "DATA_FOLDER": str(smoke_data_folder),
            "LOG_FOLDER": str(tmp_path / "logs"),
            "TEMP_FOLDER": str(tmp_path / "temp"),
            "NUM_GPUS": "0",
            "OMP_NUM_THREADS": "1",
            # Nodes of a real cluster find each other by their names; these are both this machine.
            "MASTER_ADDR": "127.0.0.1",
            "CLUSTER_PARTITION": PARTITION,
            "CLUSTER_ACCOUNT": "",
            "CLUSTER_CPUS_PER_TASK": "1",
            "CLUSTER_MEM_GB": "2",
            "CLUSTER_TIMEOUT_MIN": "20",
            "CLUSTER_ARRAY_PARALLELISM": "2",
        }
        if launcher == "slurm":  # As in a shell of `salloc`, whose options jobs must not take.
            environment |= {
                "SLURM_JOB_ID": "99999",
                "SLURM_NTASKS": "4",
                "SLURM_MEM_PER_CPU": "500",
                "SLURM_CPU_BIND": "quiet,mask_cpu:0x1",
            }
        arguments = [
            *("-m", f"hydra/launcher={launcher}", f"hydra.sweep.dir={folder}"),
            *replace_settings(["hydra.launcher.signal_delay_s=60"], overrides),
        ]
        process = subprocess.Popen(
            [sys.executable, str(PROJECT_FOLDER / script), *arguments],
            env=environment,
            cwd=elsewhere,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start_sweep
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
