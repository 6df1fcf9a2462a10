"""A Lightning logger for `metrics.csv`, which is complete even if the run is killed meanwhile."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.core.atomic_output import atomic_replacement
from w2v2_mt.runs.run_folder import CURVES_FILE, read_rows

_NUM_STEPS_BETWEEN_WRITES = 10


class CurvesLogger(Logger):
    """A table with one row per logged step and one column per metric.

    Rows are appended. To add a column, a new file replaces the old one.

    Args:
        num_steps_done: Keep the rows of these steps of an earlier part of the run.
    """

    name = version = ""

    def __init__(self, folder: Path, *, num_steps_done: int = 0):
        super().__init__()
        self.path = folder / CURVES_FILE
        self._columns: list[str] = []
        self._new_rows: list[Mapping[str, Any]] = []
        self._keep_rows(num_steps_done)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing, because the settings are in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        assert step is not None
        self._new_rows.append({**metrics, "step": step})
        if (step + 1) % _NUM_STEPS_BETWEEN_WRITES == 0:
            self.save()

    @rank_zero_only
    def save(self) -> None:
        if not self._new_rows:
            return
        columns = sorted({*self._columns, *(name for row in self._new_rows for name in row)})
        if columns == self._columns:
            with self.path.open("a", newline="") as file:
                csv.DictWriter(file, fieldnames=columns).writerows(self._new_rows)
        else:
            self._replace([*read_rows(self.path), *self._new_rows], columns)
        self._new_rows.clear()

    def finalize(self, status: str) -> None:
        self.save()

    @rank_zero_only
    def _keep_rows(self, num_steps_done: int) -> None:
        # The test comes last and is repeated, so its rows are dropped.
        kept = [
            row
            for row in read_rows(self.path)
            if int(row["step"]) < num_steps_done
            and not any(value and name.startswith("test_") for name, value in row.items())
        ]
        if kept:
            self._replace(kept, sorted(set().union(*kept)))
        else:
            self.path.unlink(missing_ok=True)

    def _replace(self, rows: Sequence[Mapping[str, Any]], columns: list[str]) -> None:
        with atomic_replacement(self.path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=columns)
            writer.writeheader()
            writer.writerows(rows)
        self._columns = columns
