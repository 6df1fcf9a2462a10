"""Run several commands of this project in one process: the import of torch is paid once.

Reads a JSON list of commands, each a script and its arguments, from standard input. Each script is
run as Python runs it; one that fails does not stop the others.
"""

import json
import os
import runpy
import subprocess
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

PROJECT_FOLDER = Path(__file__).resolve().parents[2]


MARK = "== command:"


def environment(*, data_folder: Path, log_folder: Path) -> dict[str, str]:
    """Return the variables of a run on the CPU with one thread."""
    return {
        **os.environ,
        "DATA_FOLDER": str(data_folder),
        "LOG_FOLDER": str(log_folder),
        "TEMP_FOLDER": str(log_folder),
        "USE_WANDB": "false",
        "NUM_GPUS": "0",
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }


def run_commands(
    commands: Sequence[Sequence[str]], *, data_folder: Path, log_folder: Path
) -> list[str]:
    """Run commands, and return what each of them printed."""
    finished = subprocess.run(
        [sys.executable, "-m", "tests.golden.run_commands"],
        cwd=PROJECT_FOLDER,
        env=environment(data_folder=data_folder, log_folder=log_folder),
        input=json.dumps([list(command) for command in commands]),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return finished.stdout.split(MARK)[1:]


def _run_script(script: str, *arguments: str) -> None:
    sys.argv = [script, *arguments]
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if end.code:
            print(f"{script} ended with exit code {end.code}", flush=True)
    except Exception:
        traceback.print_exc()


if __name__ == "__main__":
    for command in json.load(sys.stdin):
        print(MARK, *command, flush=True)
        _run_script(*command)
