import json
import math
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

from tests.conftest import ALL_RATES
from tests.helpers.documented_commands import PROJECT_FOLDER, Command
from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
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
