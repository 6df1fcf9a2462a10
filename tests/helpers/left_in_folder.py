"""What a run left in its folder, as far as it does not depend on when and where it ran."""

import csv
import json
from pathlib import Path
from typing import Any


def rows_of(folder: Path) -> list[dict[str, str]]:
    """What was logged, but for the memory that was taken."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {name: value for name, value in row.items() if value and "memory" not in name}
        for row in rows
    ]


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics = json.loads((folder / "metrics.json").read_text())
    return {**metrics, "tested_checkpoint": Path(metrics["tested_checkpoint"]).name}
