"""The example of a `.env` means the same to Python and to bash."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from dotenv import dotenv_values

EXAMPLE = Path(__file__).resolve().parents[1] / ".env.example"
NAMES = {
    "DATA_FOLDER",
    "LOG_FOLDER",
    "TEMP_FOLDER",
    "HF_HOME",
    "USE_WANDB",
    "WANDB_API_KEY",
    "WANDB_ENTITY",
    "NUM_GPUS",
    "CLUSTER_PARTITION",
    "CLUSTER_ACCOUNT",
    "CLUSTER_CPUS_PER_TASK",
    "CLUSTER_MEM_GB",
    "CLUSTER_TIMEOUT_MIN",
    "CLUSTER_ARRAY_PARALLELISM",
}


def read_by_bash(folder: Path) -> dict[str, str]:
    """What the file adds to an environment of `HOME` and `PATH`."""
    source = 'set -a; . "$1"; "$2" -c "import json, os; print(json.dumps(dict(os.environ)))"'
    result = subprocess.run(
        ["bash", "-c", source, "bash", EXAMPLE, sys.executable],
        cwd=folder,
        env={name: os.environ[name] for name in ("HOME", "PATH")},
        check=True,
        capture_output=True,
        text=True,
    )
    return dict(json.loads(result.stdout))


def test_python_and_bash_expand_it_alike(tmp_path, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PWD", str(tmp_path))
    by_python = dotenv_values(EXAMPLE)
    by_bash = read_by_bash(tmp_path)
    assert by_python == {name: by_bash[name] for name in by_python}
    assert by_python["DATA_FOLDER"] == f"{tmp_path}/data"


def test_every_variable_is_named_if_only_in_a_comment():
    named = re.findall(r"^(?:# )?([A-Z_]+)=", EXAMPLE.read_text(), flags=re.MULTILINE)
    assert sorted(named) == sorted(NAMES)
