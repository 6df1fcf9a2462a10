"""A training run of a benchmark: a command in its own process, repeated only if it is not done."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1]
DURATION_FILE = "benchmark_duration_sec"


def train(
    run: Path, arguments: Sequence[str], *, data_folder: Path, num_threads: int | None = None
) -> None:
    """Train and test in the folder of a run, unless that is done; a stopped run is resumed.

    Args:
        arguments: The script and its settings.
        num_threads: The threads of the process; None lets torch choose.
    """
    if (run / DURATION_FILE).is_file():
        return
    threads = {} if num_threads is None else {"OMP_NUM_THREADS": str(num_threads)}
    start = time.monotonic()
    script, *settings = arguments
    subprocess.run(
        [sys.executable, PROJECT / script, *settings, f"hydra.run.dir='{run}'"],
        check=True,
        env={
            **os.environ,
            **threads,
            "DATA_FOLDER": str(data_folder),
            "LOG_FOLDER": str(run.parent / "logs"),
            "TEMP_FOLDER": str(run.parent / "temp"),
            "USE_WANDB": "false",
            "NUM_GPUS": "0",
        },
        stdout=subprocess.DEVNULL,
    )
    (run / DURATION_FILE).write_text(f"{time.monotonic() - start:.0f}")


def read_metrics(run: Path) -> dict[str, Any]:
    """Return the metrics of a run that was trained and tested."""
    metrics: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    return metrics


def read_duration_min(run: Path) -> float:
    """Return the minutes that a run took, without those before it was resumed."""
    return int((run / DURATION_FILE).read_text()) / 60
