"""The folder of a run as it is read again: also while the run goes on, or after it failed."""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from w2v2_mt.tasks.transcripts import Transcript

METRICS_FILE = "metrics.json"
CURVES_FILE = "metrics.csv"
CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides"
ENVIRONMENT_FILE = "environment.json"
ERROR_FILE = "error.txt"
CHECKPOINT_FOLDER = "checkpoints"
LR_RANGE_FILE = "lr_range.json"

MetricValue = float | int | str | None
Points = list[tuple[int, float]]


@dataclass(frozen=True, kw_only=True)
class TrialScores:
    """A file `scores_<list>.txt`: label (1: one speaker), score and utterances of each trial."""

    labels: np.ndarray
    scores: np.ndarray
    left_keys: list[str]
    right_keys: list[str]


class RunFolder:
    """What a run has left so far. What is not there yet, or never will be, is empty.

    Reading raises ValueError where a file is not what a run writes.
    """

    def __init__(self, path: Path):
        """Raises ValueError where `path` is no folder of a run."""
        self.path = path
        if not (path / CONFIG_FILE).is_file():
            raise ValueError(
                f"{path} is no folder of a run, which holds a {CONFIG_FILE}; give the folder whose "
                "name the run printed first."
            )

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @cached_property
    def config_text(self) -> str:
        return (self.path / CONFIG_FILE).read_text()

    @cached_property
    def config(self) -> dict[str, Any]:
        """Every setting."""
        try:
            config = yaml.safe_load(self.config_text)
        except yaml.YAMLError as error:
            raise _unreadable(self.path / CONFIG_FILE, "is no yaml") from error
        if not isinstance(config, dict):
            raise _unreadable(self.path / CONFIG_FILE, "holds no settings")
        return config

    @cached_property
    def overrides(self) -> list[str]:
        """What was set on the command line."""
        path = self.path / OVERRIDES_FILE
        return path.read_text().splitlines() if path.exists() else []

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Commit, versions, device, seed."""
        return _read_json(self.path / ENVIRONMENT_FILE)

    @cached_property
    def metrics(self) -> dict[str, MetricValue]:
        """The result of the test, and the dev metrics of the checkpoint that was tested."""
        return _read_json(self.path / METRICS_FILE)

    @cached_property
    def curves(self) -> dict[str, Points]:
        """Step and value of everything that was logged, by name, in the order of the steps."""
        curves: dict[str, Points] = {}
        path = self.path / CURVES_FILE
        if not path.exists():
            return curves
        lines = path.read_text().splitlines(keepends=True)
        if lines and not lines[-1].endswith("\n"):
            lines.pop()  # A run that goes on may be writing it.
        for row in csv.DictReader(lines):
            try:
                step = int(row.pop("step"))
                row.pop("epoch", None)
                for name, value in row.items():
                    if value:
                        points = curves.setdefault(name.removesuffix("_step"), [])
                        points.append((step, float(value)))
            except (KeyError, TypeError, ValueError) as error:
                raise _unreadable(path, f"has a line that is not understood ({error!r})") from error
        return {name: sorted(points, key=lambda point: point[0]) for name, points in curves.items()}

    @cached_property
    def lr_range(self) -> dict[str, Any]:
        """Learning rates and losses of a range test."""
        return _read_json(self.path / LR_RANGE_FILE)

    @property
    def error(self) -> str | None:
        """What a run that failed said last; None where it did not fail."""
        return last_error(self.path)

    def transcripts(self) -> dict[str, list[Transcript]]:
        """By set."""
        return {
            set_name: [
                Transcript(key=row[0], reference=row[1], hypothesis=row[2])
                for row in _tab_separated(path, num_columns=3)
            ]
            for set_name, path in self._files("transcripts_", ".tsv")
        }

    def trial_scores(self) -> dict[str, TrialScores]:
        """By trial list."""
        return {list_name: _read_scores(path) for list_name, path in self._files("scores_", ".txt")}

    def table(self, prefix: str) -> dict[str, list[dict[str, str]]]:
        """The rows of each file `<prefix><set>.tsv`, whose first line names the columns, by set."""
        tables = {}
        for set_name, path in self._files(prefix, ".tsv"):
            with path.open(newline="") as file:
                tables[set_name] = list(csv.DictReader(file, delimiter="\t"))
        return tables

    def _files(self, prefix: str, suffix: str) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.path.glob(f"{prefix}*{suffix}")):
            yield path.name.removeprefix(prefix).removesuffix(suffix), path


def last_error(folder: Path) -> str | None:
    """The last line of `error.txt`; None where there is no such file."""
    path = folder / ERROR_FILE
    if not path.exists():
        return None
    lines = path.read_text().strip().splitlines()
    return lines[-1] if lines else "an error that was not written down"


def _read_json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise _unreadable(path, f"is no JSON ({error})") from error
    if not isinstance(content, dict):
        raise _unreadable(path, "holds no names with values")
    return content


def _tab_separated(path: Path, *, num_columns: int) -> Iterator[list[str]]:
    """The rows below the first line, which names the columns."""
    for number, line in enumerate(path.read_text().splitlines()):
        cells = line.split("\t")
        if len(cells) != num_columns:
            raise _unreadable(path, f"has {len(cells)} columns in line {number + 1}")
        if number > 0:
            yield cells


def _read_scores(path: Path) -> TrialScores:
    cells = path.read_text().split()
    if len(cells) % 4 != 0:
        raise _unreadable(path, "has a line that is not label, score and two utterances")
    try:
        labels = np.array(cells[0::4], dtype=np.int64)
        scores = np.array(cells[1::4], dtype=np.float64)
    except ValueError as error:
        raise _unreadable(path, f"holds a label or a score that is no number ({error})") from error
    return TrialScores(labels=labels, scores=scores, left_keys=cells[2::4], right_keys=cells[3::4])


def _unreadable(path: Path, what: str) -> ValueError:
    return ValueError(
        f"{path} {what}; if the run is still writing it, try again, otherwise it was changed "
        "or cut: take the folder as the run left it."
    )
