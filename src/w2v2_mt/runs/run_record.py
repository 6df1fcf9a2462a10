"""Write the files that describe a run: settings, environment, metrics and test outputs."""

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import yaml
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.core.atomic_output import check_no_link, replace_text
from w2v2_mt.core.units import count
from w2v2_mt.runs.run_folder import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    OVERRIDES_FILE,
    REPORT_FOLDER,
    SPEED_FILE,
    TENSORBOARD_FOLDER,
    WANDB_FOLDER,
)
from w2v2_mt.settings.environment import PROJECT_FOLDER

_PACKAGES = (
    "torch torchaudio pytorch-lightning transformers hydra-core webdataset soundfile jiwer"
).split()


def code_version() -> str:
    """Return the git commit, with `+changes` if files differ; `unknown` outside a checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(PROJECT_FOLDER), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        commit = git("rev-parse", "HEAD")
        return f"{commit}+changes" if git("status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def check_run_folder(folder: Path) -> None:
    """Raise a ValueError if a folder inside that of a run is a link, through which it would write.

    Of files, links are replaced, except that TensorBoard would follow one to its settings.
    """
    for name in (CHECKPOINT_FOLDER, REPORT_FOLDER, TENSORBOARD_FOLDER, WANDB_FOLDER):
        check_no_link(folder / name)
    settings = folder / TENSORBOARD_FOLDER / "hparams.yaml"
    if settings.is_symlink():
        settings.unlink()


@rank_zero_only
def write_setting(folder: Path, *, config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Write `config.yaml`, `overrides` and `environment.json` before a run."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / CONFIG_FILE, yaml.safe_dump(config, sort_keys=False))
    replace_text(folder / OVERRIDES_FILE, "".join(f"{override}\n" for override in overrides))
    device = f"cpu, {count(torch.get_num_threads(), 'thread')}"
    if config["gpus"] and torch.cuda.is_available():
        device = f"{config['gpus']} x {torch.cuda.get_device_name()}"
    environment = {
        "git_commit": code_version(),
        "seed": config["seed"],
        "device": device,
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
    }
    replace_text(folder / ENVIRONMENT_FILE, json.dumps(environment, indent=2) + "\n")


@rank_zero_only
def write_metrics(folder: Path, metrics: Mapping[str, float | int | str | None]) -> None:
    """Write `metrics.json`, a flat mapping of metric names to numbers."""
    replace_text(folder / METRICS_FILE, json.dumps(metrics, indent=2) + "\n")


@rank_zero_only
def write_speed(folder: Path, speed: Mapping[str, float]) -> None:
    """Write `speed.json`, the speed of training over the whole run."""
    replace_text(folder / SPEED_FILE, json.dumps(speed, indent=2) + "\n")


@rank_zero_only
def remove_test_outputs(folder: Path) -> None:
    """Remove the outputs of an earlier test, which may have used other sets."""
    for pattern in (
        METRICS_FILE,
        "transcripts_*.tsv",
        "errors_by_*.tsv",
        "scores_*.txt",
        "*speakers*.tsv",
    ):
        for path in folder.glob(pattern):
            # Links and folders with such a name are not written by a test.
            if path.is_file() and not path.is_symlink():
                path.unlink()


@rank_zero_only
def write_test_outputs(folder: Path, files: Mapping[str, Sequence[str]]) -> None:
    """Write the files of a test, lines by name, and no others."""
    remove_test_outputs(folder)
    for name, lines in files.items():
        # The name of a set may have slashes, which would lead to another folder.
        replace_text(folder / name.replace("/", "_"), "".join(f"{line}\n" for line in lines))
