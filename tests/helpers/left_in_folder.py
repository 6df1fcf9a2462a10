"""What a run left in its folder, as far as it does not depend on when and where it ran."""

import csv
import json
from pathlib import Path
from typing import Any


def depends_on_machine(name: str) -> bool:
    """Return True for a logged value that is not that of the same run on another machine."""
    return name.startswith(("memory_", "speed_"))


def rows_of(folder: Path) -> list[dict[str, str]]:
    """Return the logged metrics without those of memory and time."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if value and not depends_on_machine(name)}
        for row in rows
    ]


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {**metrics, "tested_checkpoint": Path(metrics["tested_checkpoint"]).name}
