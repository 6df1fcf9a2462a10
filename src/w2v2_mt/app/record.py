"""The files by which a run explains itself from its folder."""

import json
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import yaml
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.run_folder import (
    CONFIG_FILE,
    ENVIRONMENT_FILE,
    METRICS_FILE,
    OVERRIDES_FILE,
)
from w2v2_mt.tasks.error_groups import UNITS, GroupErrors, errors_by_duration, errors_by_speaker
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation
from w2v2_mt.tasks.transcripts import Transcript

_PACKAGES = (
    "torch torchaudio pytorch-lightning transformers hydra-core webdataset soundfile jiwer"
).split()


def code_version() -> str:
    """The git commit, with `+changes` when files differ from it; `unknown` outside a checkout."""
    try:
        commit = _git("rev-parse", "HEAD")
        return f"{commit}+changes" if _git("status", "--porcelain", "-uno") else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(PROJECT_FOLDER), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@rank_zero_only
def write_setting(folder: Path, *, config: dict[str, Any], overrides: Sequence[str]) -> None:
    """Write `config.yaml`, `overrides` and `environment.json`: what is known before the run."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CONFIG_FILE).write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / OVERRIDES_FILE).write_text("".join(f"{override}\n" for override in overrides))
    device = f"cpu, {torch.get_num_threads()} threads"
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
    (folder / ENVIRONMENT_FILE).write_text(json.dumps(environment, indent=2) + "\n")


@rank_zero_only
def write_metrics(folder: Path, metrics: Mapping[str, float | int | str | None]) -> None:
    """Write `metrics.json`, flat: metric name to number."""
    (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n")


@rank_zero_only
def remove_test_outputs(folder: Path) -> None:
    """Remove what an earlier test, perhaps of other sets, left in this folder."""
    for pattern in (METRICS_FILE, "transcripts_*.tsv", "errors_by_*.tsv", "scores_*.txt"):
        for path in folder.glob(pattern):
            path.unlink()


@rank_zero_only
def write_test_outputs(folder: Path, task: pl.LightningModule) -> None:
    """Write the transcripts and the scores that a task holds after its test, and no others."""
    remove_test_outputs(folder)
    speech_evaluation = getattr(task, "speech_evaluation", None)
    if isinstance(speech_evaluation, SpeechEvaluation):
        for set_name, transcripts in speech_evaluation.transcripts.items():
            _write_transcripts(folder / f"transcripts_{set_name}.tsv", transcripts)
            _write_errors(
                folder / f"errors_by_speaker_{set_name}.tsv",
                ("speaker",),
                [((name,), errors) for name, errors in errors_by_speaker(transcripts).items()],
            )
            _write_errors(
                folder / f"errors_by_duration_{set_name}.tsv",
                ("duration_from_sec", "duration_to_sec"),
                errors_by_duration(transcripts).items(),
            )
    for set_name, scored in getattr(task, "scored_trials", {}).items():
        _write_scores(folder / f"scores_{set_name}.txt", scored)


def _write_transcripts(path: Path, transcripts: Sequence[Transcript]) -> None:
    rows = ["key\treference\thypothesis"]
    rows += [f"{row.key}\t{row.reference}\t{row.hypothesis}" for row in transcripts]
    path.write_text("\n".join(rows) + "\n")


def _write_errors(
    path: Path,
    label_columns: Sequence[str],
    groups: Iterable[tuple[tuple[object, ...], GroupErrors]],
) -> None:
    """A line for each group; the rates of a group without a word in its references are empty."""
    counts = [
        column
        for unit, rate in UNITS
        for column in (
            f"num_{unit}s",
            f"{unit}_substitutions",
            f"{unit}_deletions",
            f"{unit}_insertions",
            rate,
        )
    ]
    rows = ["\t".join((*label_columns, "num_utterances", *counts))]
    for label, errors in groups:
        cells = [*label, errors.num_utterances]
        for edits in (errors.words, errors.characters):
            num_references = edits.num_references
            cells += [num_references, edits.substitutions, edits.deletions, edits.insertions]
            cells.append(f"{edits.num_errors / num_references:.6f}" if num_references else "")
        rows.append("\t".join(map(str, cells)))
    path.write_text("\n".join(rows) + "\n")


def _write_scores(path: Path, scored: ScoredTrials) -> None:
    rows = [
        f"{int(trial.same_speaker)} {score:.9g} {trial.left_key} {trial.right_key}"
        for trial, score in zip(scored.trials, scored.scores, strict=True)
    ]
    path.write_text("\n".join(rows) + "\n")
