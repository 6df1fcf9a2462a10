"""`metrics.csv` as a run writes it: whole at any moment, also when the run is killed meanwhile."""

import csv
from collections.abc import Sequence
from pathlib import Path

from pytorch_lightning.loggers.csv_logs import ExperimentWriter

Row = dict[str, str]


class CurvesFile(ExperimentWriter):
    """Begins with the rows that are kept of an earlier part of the run; new rows are appended.

    Where the table gets a new column, and at the start, it is written beside its place and moved
    there when it is complete; Lightning would delete or empty the file first.
    """

    def __init__(self, folder: Path, *, kept: Sequence[Row]) -> None:
        super().__init__(log_dir=str(folder))
        self._path = Path(self.metrics_file_path)
        self.metrics_keys = sorted(set().union(*kept))
        if kept:
            self._replace(kept)
        else:
            self._path.unlink(missing_ok=True)

    def _check_log_dir_exists(self) -> None:
        """Lightning deletes the file of an earlier part here."""

    def _rewrite_with_new_header(self, fieldnames: list[str]) -> None:
        self._replace(rows_of(self._path))

    def _replace(self, rows: Sequence[Row]) -> None:
        part = self._path.with_name(f"{self._path.name}.part")
        with part.open("w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=self.metrics_keys)
            writer.writeheader()
            writer.writerows(rows)
        part.replace(self._path)


def rows_of(path: Path) -> list[Row]:
    """The rows of a table, without a last line that a killed run did not finish."""
    with path.open(newline="") as file:
        return list(csv.DictReader(line for line in file if line.endswith("\n")))
