"""Read the folder of a run, also while the run trains or after it failed."""

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import yaml
from annotated_types import Ge, Le
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from w2v2_mt.core.limits import MAX_JSON_BYTES
from w2v2_mt.core.text_files import read_json_object, read_text, split_fields, split_lines
from w2v2_mt.core.units import count
from w2v2_mt.settings.instantiation import walk
from w2v2_mt.tasks.transcripts import Transcript

METRICS_FILE = "metrics.json"
CURVES_FILE = "metrics.csv"
CONFIG_FILE = "config.yaml"
OVERRIDES_FILE = "overrides"
ENVIRONMENT_FILE = "environment.json"
ERROR_FILE = "error.txt"
CHECKPOINT_FOLDER = "checkpoints"
REPORT_FOLDER = "report"
TENSORBOARD_FOLDER = "tensorboard"
WANDB_FOLDER = "wandb"
LR_RANGE_FILE = "lr_range.json"
SPEED_FILE = "speed.json"

_MAX_CURVES_BYTES = 1 << 29
_MAX_STEP = 2**53
_MAX_NUM_VALUES = 100_000
"""The largest number of values of a yaml file; the settings of a run are a few hundred."""

MetricValue = float | int | str | None
Points = list[tuple[int, float]]
_Integer = Annotated[int, Ge(-_MAX_STEP), Le(_MAX_STEP)]
"""An integer that a float can hold."""


@with_config(ConfigDict(extra="allow"))
class _Environment(TypedDict, total=False):
    packages: dict[str, Any]


@with_config(ConfigDict(extra="allow"))
class _LrRange(TypedDict):
    learning_rate: list[float]
    loss: list[float | None]
    smoothed_loss: list[float | None]
    suggestion: float | None
    has_diverged: bool


_ENVIRONMENT: Any = TypeAdapter(_Environment)
_METRICS: Any = TypeAdapter(dict[str, _Integer | float | str | None])
_SPEED: Any = TypeAdapter(dict[str, _Integer | float])
_LR_RANGE: Any = TypeAdapter(_LrRange)


@dataclass(frozen=True, kw_only=True)
class TrialScores:
    """The content of `scores_<list>.txt`: label (1: target trial), score and keys of each trial.

    `speakers` are those of the utterances, where their keys do not name them.
    """

    labels: np.ndarray
    scores: np.ndarray
    left_keys: list[str]
    right_keys: list[str]
    speakers: dict[str, str] = field(default_factory=dict)


class RunFolder:
    """The files that a run has written so far; the content of a missing file is empty."""

    def __init__(self, path: Path):
        self.path = path
        self.name = path.resolve().name
        if not (path / CONFIG_FILE).is_file():
            raise ValueError(
                f"{path} is not a run folder, which holds a {CONFIG_FILE}. Give the folder whose "
                "name the run printed first."
            )

    @cached_property
    def config_text(self) -> str:
        return read_text(self.path / CONFIG_FILE, max_bytes=MAX_JSON_BYTES)

    @cached_property
    def config(self) -> dict[str, Any]:
        """All settings."""
        try:
            config = read_yaml(self.config_text)
        except (yaml.YAMLError, RecursionError, ValueError) as error:
            raise unreadable(self.path / CONFIG_FILE, "is not yaml") from error
        if not isinstance(config, dict):
            raise unreadable(self.path / CONFIG_FILE, "holds no settings")
        return config

    @cached_property
    def overrides(self) -> list[str]:
        """The overrides on the command line."""
        path = self.path / OVERRIDES_FILE
        return split_lines(read_text(path)) if path.exists() else []

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Commit, versions, device and seed."""
        return self._json(ENVIRONMENT_FILE, _ENVIRONMENT)

    @cached_property
    def metrics(self) -> dict[str, MetricValue]:
        """The results of the test and the dev metrics of the tested checkpoint."""
        return self._json(METRICS_FILE, _METRICS)

    @cached_property
    def speed(self) -> dict[str, float]:
        """The sums and rates of the speed of training."""
        return self._json(SPEED_FILE, _SPEED)

    @cached_property
    def lr_range(self) -> dict[str, Any]:
        """Learning rates and losses of a learning-rate range test."""
        content = self._json(LR_RANGE_FILE, _LR_RANGE)
        if len({len(value) for value in content.values() if isinstance(value, list)}) > 1:
            raise unreadable(self.path / LR_RANGE_FILE, "has lists of different lengths")
        return content

    @cached_property
    def curves(self) -> dict[str, Points]:
        """Steps and values of each logged metric, in the order of the steps."""
        curves: dict[str, Points] = {}
        for row in read_rows(self.path / CURVES_FILE):
            step = int(row.pop("step"))
            row.pop("epoch", None)
            for name, value in row.items():
                if value:
                    try:
                        point = step, float(value)
                    except ValueError as error:
                        problem = f"has a line that cannot be read ({error})"
                        raise unreadable(self.path / CURVES_FILE, problem) from error
                    curves.setdefault(name.removesuffix("_step"), []).append(point)
        return {name: sorted(points, key=lambda point: point[0]) for name, points in curves.items()}

    @property
    def error(self) -> str | None:
        """The last line of the error of a failed run; None if it did not fail."""
        return last_error(self.path)

    def transcripts(self) -> dict[str, list[Transcript]]:
        """Read the transcripts of each set."""
        transcripts = {}
        for set_name, path in self._files("transcripts_", ".tsv"):
            rows = [line.split("\t") for line in split_lines(read_text(path))]
            for number, row in enumerate(rows, start=1):
                if len(row) != 3:
                    raise unreadable(path, f"has {count(len(row), 'column')} in line {number}")
            speakers = self._speakers(f"speakers_{set_name}.tsv")
            transcripts[set_name] = [
                Transcript(key, reference, hypothesis, speaker_id=speakers.get(key))
                for key, reference, hypothesis in rows[1:]
            ]
        return transcripts

    def trial_scores(self) -> dict[str, TrialScores]:
        """Read the scores of each trial list."""
        scores = {}
        speakers = self._speakers("trial_speakers.tsv")
        for list_name, path in self._files("scores_", ".txt"):
            cells = split_fields(" ".join(split_lines(read_text(path))))
            if len(cells) % 4 != 0:
                raise unreadable(path, "has a line that is not label, score and two utterances")
            try:
                scores[list_name] = TrialScores(
                    labels=np.array(cells[0::4], dtype=np.int64),
                    scores=np.array(cells[1::4], dtype=np.float64),
                    left_keys=cells[2::4],
                    right_keys=cells[3::4],
                    speakers=speakers,
                )
            except (OverflowError, ValueError) as error:
                problem = f"holds a label or a score that is not a number ({error})"
                raise unreadable(path, problem) from error
        return scores

    def _speakers(self, name: str) -> dict[str, str]:
        """Read the speaker of each utterance; a run whose keys name them writes no such file."""
        path = self.path / name
        if not path.exists():
            return {}
        rows = [line.split("\t") for line in split_lines(read_text(path))]
        if any(len(row) != 2 for row in rows):
            raise unreadable(path, "has a line that is not an utterance and its speaker")
        return {row[0]: row[1] for row in rows[1:]}

    def table(self, prefix: str) -> dict[str, list[dict[str, str]]]:
        """Read the rows of each file `<prefix><set>.tsv`, whose first line names the columns."""
        return {
            set_name: _read_table(path, split_lines(read_text(path)), delimiter="\t")
            for set_name, path in self._files(prefix, ".tsv")
        }

    def _files(self, prefix: str, suffix: str) -> Iterator[tuple[str, Path]]:
        for path in sorted(self.path.glob(f"{prefix}*{suffix}")):
            yield path.name.removeprefix(prefix).removesuffix(suffix), path

    def _json(self, name: str, kind: Any) -> dict[str, Any]:
        path = self.path / name
        if not path.exists():
            return {}
        content = read_json_object(path, advice=_ADVICE)
        try:
            kind.validate_python(content, strict=True)
        except ValidationError as error:
            where = " ".join(map(str, error.errors()[0]["loc"][:1]))
            raise unreadable(path, f"has a wrong value of {where!r}") from error
        return content


def read_yaml(text: str) -> Any:
    """Read plain values from yaml; a YAMLError says that it is not yaml or has too many values.

    A few lines of yaml can refer to each other and so be a billion values.
    """
    content = yaml.safe_load(text)
    for number, _ in enumerate(walk(content)):
        if number == _MAX_NUM_VALUES:
            raise yaml.YAMLError(f"it has more than {_MAX_NUM_VALUES} values")
    return content


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read the rows of `metrics.csv`, except a last line that is being written or was truncated."""
    if not path.exists():
        return []
    text = read_text(path, max_bytes=_MAX_CURVES_BYTES)
    rows = _read_table(path, [f"{line}\n" for line in text.split("\n")[:-1]], delimiter=",")
    for row in rows:
        if not re.fullmatch(r"\d{1,15}", row.get("step", "")):
            raise unreadable(path, "has a row without the number of a step")
    return rows


def _read_table(path: Path, lines: Sequence[str], *, delimiter: str) -> list[dict[str, str]]:
    """Return the rows of a table, each of which has a cell in every column."""
    reader = csv.DictReader(lines, delimiter=delimiter)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise unreadable(path, f"is not a table ({error})") from error
    if any(None in row or None in row.values() for row in rows):
        raise unreadable(path, "has a line with another number of cells than columns")
    return rows


def last_error(folder: Path) -> str | None:
    """Return the last line of `error.txt`; None if the file does not exist."""
    path = folder / ERROR_FILE
    if not path.exists():
        return None
    lines = read_text(path, errors="replace").strip().splitlines()
    return lines[-1] if lines else "an error without a message"


_ADVICE = (
    "Try again if the run is still writing it; otherwise it was changed or truncated, so restore "
    "the folder of the run."
)


def unreadable(path: Path, what: str) -> ValueError:
    """Return the error for a file that is not as a run writes it."""
    return ValueError(f"{path} {what}. {_ADVICE}")
