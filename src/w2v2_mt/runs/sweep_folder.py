"""Read the folder of a sweep: the state, settings and metrics of each job."""

import csv
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import hydra
import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException

from w2v2_mt.core.limits import MAX_JSON_BYTES
from w2v2_mt.core.text_files import read_text, split_lines
from w2v2_mt.runs.run_folder import (
    CONFIG_FILE,
    OVERRIDES_FILE,
    MetricValue,
    RunFolder,
    last_error,
    read_yaml,
)
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.instantiation import find_setting
from w2v2_mt.settings.overrides import expand_jobs, name_and_value, split_overrides

_PLAN_ERRORS = (
    *(AttributeError, LookupError, RecursionError, TypeError, ValueError),
    *(yaml.YAMLError, HydraException),
)
"""The errors of a plan that is not yaml, is not a list of overrides, or is of too many jobs."""

TABLE_FILE = "jobs.tsv"
ERRORS_FILE = "errors.txt"

DONE = "done"
FAILED = "failed"
RUNNING = "running or killed"
"""State of a running, killed or requeued job: its folder shows no difference."""
NOT_STARTED = "not started"


@dataclass(frozen=True, kw_only=True)
class SweepJob:
    """One job of a sweep.

    Args:
        state: One of DONE, FAILED, RUNNING and NOT_STARTED.
        folder: The folder of its run; None if it has not started.
        settings: Its overrides by name.
        metrics: Its result or, without one, the dev metrics of its last validation.
        learning_rate: Its peak learning rate.
        error: The last line of its error, if it failed.
    """

    number: int
    state: str
    settings: dict[str, str]
    folder: Path | None = None
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    learning_rate: float | None = None
    error: str | None = None

    def value(self, name: str) -> float | None:
        """Return a metric; None if it is missing or not a finite number."""
        value = self.metrics.get(name)
        if isinstance(value, int | float) and math.isfinite(value):
            return float(value)
        return None


def read_sweep(folder: Path) -> list[SweepJob]:
    """Read all jobs of a sweep, including those that have not started, in their order."""
    rows = _read_table(folder)
    planned = {number: overrides for number, (overrides, _) in rows.items()} or _read_plan(folder)
    started = {
        int(path.name): path
        for path in (folder.iterdir() if folder.is_dir() else ())
        if path.name.isdecimal() and path.is_dir()
    }
    for number, (_, name) in rows.items():  # `hydra.sweep.subdir` may give them names.
        path = _find_inside(folder, name)
        if path is not None:
            started.setdefault(number, path)
    if not planned and not any((path / CONFIG_FILE).is_file() for path in started.values()):
        raise ValueError(
            f"{folder} is not a sweep folder, which holds a folder for each job (0, 1, ..). Give "
            "the parent folder of the jobs."
        )
    # The launcher records errors also of jobs that wrote none.
    path = folder / ERRORS_FILE
    text = read_text(path, errors="replace") if path.exists() else ""
    found = re.findall(r"^== #(\d+): .*\nfolder: .*\n(.+)", text, flags=re.MULTILINE)
    errors = {int(number): sentence for number, sentence in found}
    return [
        _read_job(number, started.get(number), planned.get(number, []), errors.get(number))
        for number in sorted({*planned, *started})
    ]


def _read_job(
    number: int, folder: Path | None, planned: list[str], launcher_error: str | None
) -> SweepJob:
    error = (last_error(folder) if folder else None) or launcher_error
    unfinished = FAILED if error else RUNNING if folder else NOT_STARTED
    settings = _by_name(planned)
    # The folder is created before the settings are written.
    if folder is None or not (folder / CONFIG_FILE).is_file():
        return SweepJob(
            number=number, state=unfinished, settings=settings, folder=folder, error=error
        )
    try:
        run = RunFolder(folder)
        # It may have been run again after the launcher recorded an error.
        present_error = last_error(folder) if run.metrics else error
        metrics = run.metrics or {
            name: points[-1][1] for name, points in run.curves.items() if name.startswith("val_")
        }
        if run.config.get("fit_model") is False:
            # Its dev metrics belong to the checkpoint that it tests, not to the job.
            metrics = {name: each for name, each in metrics.items() if not name.startswith("val_")}
        learning_rate = find_setting(run.config, "optim.algo.lr")
        return SweepJob(
            number=number,
            state=DONE if run.metrics and present_error is None else unfinished,
            settings=_by_name(run.overrides) if (folder / OVERRIDES_FILE).exists() else settings,
            folder=folder,
            metrics=metrics,
            learning_rate=float(learning_rate) if isinstance(learning_rate, int | float) else None,
            error=present_error,
        )
    except ValueError as problem:  # The other jobs are reported all the same.
        return SweepJob(
            number=number,
            state=FAILED,
            settings=settings,
            folder=folder,
            error=error or str(problem),
        )


def _by_name(overrides: list[str]) -> dict[str, str]:
    """Map names to values in one form; Hydra's plan has them as typed, a job parsed."""
    return dict(map(name_and_value, overrides))


def _find_inside(folder: Path, name: str) -> Path | None:
    """Find the folder of a job, by its absolute path, in a sweep that may have been moved."""
    parts = Path(name).parts
    if ".." in parts:
        return None
    candidates = [folder.joinpath(*parts[start:]) for start in range(1, len(parts))]
    return next((path for path in candidates if path.is_dir() and not path.is_symlink()), None)


def _read_table(folder: Path) -> dict[int, tuple[list[str], str]]:
    """Read the overrides and the folder of each job from the launcher's table, if it exists."""
    table = folder / TABLE_FILE
    if not table.exists():
        return {}
    try:
        rows = list(csv.DictReader(split_lines(read_text(table)), delimiter="\t"))
        return {
            int(row["number"]): (split_overrides(row["overrides"]), row["folder"]) for row in rows
        }
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{table} is not as a sweep writes it ({error!r}). Remove it to report only the jobs "
            "that have started."
        ) from error


def _read_plan(folder: Path) -> dict[int, list[str]]:
    """Read the overrides of each job from Hydra's plan, if it exists."""
    plan = folder / "multirun.yaml"
    if not plan.exists():
        return {}
    try:
        typed = read_yaml(read_text(plan, max_bytes=MAX_JSON_BYTES))["hydra"]["overrides"]["task"]
        with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
            return dict(enumerate(expand_jobs(typed, GlobalHydra.instance().config_loader())))
    except _PLAN_ERRORS as error:
        raise ValueError(
            f"{plan} is not as Hydra writes it ({type(error).__name__}). Remove it to report only "
            "the jobs that have started."
        ) from error
