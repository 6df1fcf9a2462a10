"""The folder of a sweep as it is read again: what each job has left, whatever became of it."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.overrides import expanded_jobs, name_and_value, split_overrides
from w2v2_mt.app.run_folder import (
    CONFIG_FILE,
    OVERRIDES_FILE,
    MetricValue,
    RunFolder,
    last_error,
)
from w2v2_mt.app.sweep import ERRORS_FILE, TABLE_FILE

DONE = "done"
FAILED = "failed"
RUNNING = "running or killed"
"""Or it waits to be queued again: the folder does not tell which."""
NOT_STARTED = "not started"

_PLAN_FILE = "multirun.yaml"
_LEARNING_RATE = "optim.algo.lr"


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """One job. `settings` holds the overrides by name, `metrics` what is known of it so far.

    The dev metrics of a job without a result are those of its last validation.
    """

    number: int
    state: str
    settings: dict[str, str]
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    learning_rate: float | None = None
    error: str | None = None

    def value(self, name: str) -> float | None:
        """A metric that is a finite number; None where there is none."""
        value = self.metrics.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        return None


def read_sweep(folder: Path) -> list[SweepJob]:
    """All jobs in the order of their numbers, those that have not begun as well.

    Raises ValueError where `folder` has no job, or the plan of the sweep cannot be read.
    """
    planned = _planned(folder)
    begun = {
        int(path.name): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name.isdecimal() and path.is_dir()
    }
    if not planned and not any((path / CONFIG_FILE).is_file() for path in begun.values()):
        raise ValueError(
            f"{folder} is no folder of a sweep, which holds a folder for each job (0, 1, ..); give "
            "the one above them."
        )
    errors = _gathered_errors(folder)
    return [
        _job(number, begun.get(number), planned.get(number, []), errors.get(number))
        for number in sorted({*planned, *begun})
    ]


def _job(
    number: int, folder: Path | None, planned: list[str], gathered_error: str | None
) -> SweepJob:
    if folder is None:
        state = NOT_STARTED if gathered_error is None else FAILED
        settings = _by_name(planned)
        return SweepJob(number=number, state=state, settings=settings, error=gathered_error)
    error = last_error(folder) or gathered_error
    unfinished = RUNNING if error is None else FAILED
    if not (folder / CONFIG_FILE).is_file():
        # The folder is there before the settings are written.
        settings = _by_name(planned)
        return SweepJob(number=number, state=unfinished, settings=settings, error=error)
    try:
        return _begun_job(number, folder, planned, error)
    except ValueError as damage:
        # Of one job; the others are told all the same.
        return SweepJob(
            number=number, state=FAILED, settings=_by_name(planned), error=error or str(damage)
        )


def _begun_job(number: int, folder: Path, planned: list[str], error: str | None) -> SweepJob:
    """Raises ValueError where a file of the job cannot be read."""
    run = RunFolder(folder)
    unfinished = RUNNING if error is None else FAILED
    if run.metrics:
        error = last_error(folder)  # It was done again since the launcher gave it up.
    metrics = run.metrics or {
        name: points[-1][1] for name, points in run.curves.items() if name.startswith("val_")
    }
    if run.config.get("fit_model") is False:
        # Its dev metrics are those that its checkpoint came with, whatever the job does.
        metrics = {name: each for name, each in metrics.items() if not name.startswith("val_")}
    overrides = run.overrides if (folder / OVERRIDES_FILE).exists() else planned
    return SweepJob(
        number=number,
        state=DONE if run.metrics and error is None else unfinished,
        settings=_by_name(overrides),
        metrics=metrics,
        learning_rate=_learning_rate(run),
        error=error,
    )


def _by_name(overrides: list[str]) -> dict[str, str]:
    """In one form: Hydra's plan has them as they were typed, and what a job leaves has not."""
    return dict(map(name_and_value, overrides))


def _learning_rate(run: RunFolder) -> float | None:
    block: Any = run.config
    for name in _LEARNING_RATE.split("."):
        block = block.get(name) if isinstance(block, dict) else None
    return float(block) if isinstance(block, int | float) else None


def _gathered_errors(folder: Path) -> dict[int, str]:
    """Of jobs that could not write one themselves: what the launcher has found out about them."""
    path = folder / ERRORS_FILE
    text = path.read_text() if path.exists() else ""
    found = re.findall(r"^== #(\d+): .*\nfolder: .*\n(.+)", text, flags=re.MULTILINE)
    return {int(number): sentence for number, sentence in found}


def _planned(folder: Path) -> dict[int, list[str]]:
    """The overrides of each job: in the table of a sweep that was submitted, or in Hydra's plan."""
    table = folder / TABLE_FILE
    if table.exists():
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        return {int(row["number"]): split_overrides(row["overrides"]) for row in rows}
    return dict(enumerate(_jobs_of_plan(folder / _PLAN_FILE)))


def _jobs_of_plan(path: Path) -> list[list[str]]:
    if not path.exists():
        return []
    try:
        typed = yaml.safe_load(path.read_text())["hydra"]["overrides"]["task"]
        with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
            return list(expanded_jobs(typed, GlobalHydra.instance().config_loader()))
    except (KeyError, TypeError, yaml.YAMLError, HydraException) as error:
        raise ValueError(
            f"{path} is not what Hydra writes ({type(error).__name__}); remove it, and the report "
            "is about the jobs that have begun."
        ) from error
