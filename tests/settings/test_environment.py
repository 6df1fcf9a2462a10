import os
import random
import re
import subprocess
import sys
from unittest import mock

import pytest
from dotenv import dotenv_values

from w2v2_mt.settings import environment
from w2v2_mt.settings.environment import (
    PROJECT_FOLDER,
    check_env_file,
    experiment_name,
    load_environment,
)

NAMES = ("DATA_FOLDER", "LOG_FOLDER", "TEMP_FOLDER", "USE_WANDB", "NUM_GPUS", "W2V2_MT_NAME_SEED")
EXAMPLE = PROJECT_FOLDER / ".env.example"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder without `.env`, and an environment in which nothing is named yet."""
    monkeypatch.setattr(environment, "PROJECT_FOLDER", tmp_path)
    with mock.patch.dict(os.environ):
        for name in NAMES:
            os.environ.pop(name, None)
        yield tmp_path


def test_without_a_file_everything_lies_below_the_project_on_the_cpu(project):
    load_environment()
    assert {name: os.environ[name] for name in NAMES[:5]} == {
        "DATA_FOLDER": f"{project}/data",
        "LOG_FOLDER": f"{project}/logs",
        "TEMP_FOLDER": f"{project}/temp",
        "USE_WANDB": "false",
        "NUM_GPUS": "0",
    }


def test_the_file_fills_in_what_the_environment_does_not_name(project):
    (project / ".env").write_text("DATA_FOLDER=/from/file\nNUM_GPUS=2\nHF_HOME=/from/file/hf\n")
    os.environ["DATA_FOLDER"] = "/from/environment"
    os.environ.pop("HF_HOME", None)
    load_environment()
    assert os.environ["DATA_FOLDER"] == "/from/environment"
    assert os.environ["NUM_GPUS"] == "2"
    assert os.environ["HF_HOME"] == "/from/file/hf"
    assert os.environ["LOG_FOLDER"] == f"{project}/logs"


def test_an_empty_value_means_the_default(project):
    (project / ".env").write_text("DATA_FOLDER=\nNUM_GPUS=\n")
    load_environment()
    assert os.environ["DATA_FOLDER"] == f"{project}/data"
    assert os.environ["NUM_GPUS"] == "0"


def test_the_example_names_what_is_read_and_says_it_to_python_as_to_bash(tmp_path):
    variables = {"PWD": str(tmp_path), "HOME": "/home/someone", "PATH": os.environ["PATH"]}
    with mock.patch.dict(os.environ, variables, clear=True):
        in_python = dotenv_values(EXAMPLE)
    script = (
        f'set -a; source "{EXAMPLE}"; "{sys.executable}" -c "import os; print(dict(os.environ))"'
    )
    finished = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=variables, capture_output=True, text=True
    )
    assert finished.stderr == ""
    in_bash = eval(finished.stdout, {"__builtins__": {}})
    assert {name: in_bash[name] for name in in_python} == in_python
    assert in_python.keys() == {*NAMES[:5], "HF_HOME"}
    assert in_python["DATA_FOLDER"] == f"{tmp_path}/data"


def test_a_name_is_two_words_and_a_number(project):
    load_environment()
    assert re.fullmatch(r"[a-z]+-[a-z]+-\d{4}", experiment_name(None))


def test_the_jobs_of_a_command_share_a_name_and_differ_in_their_number(project):
    load_environment()
    names = [experiment_name(number) for number in range(12)]
    assert names == [f"{experiment_name(None)}-{number:02d}" for number in range(12)]
    # A worker of the same sweep on another machine inherits the environment.
    load_environment()
    assert experiment_name(3) == names[3]


def test_each_command_has_another_name(project):
    names = set()
    for _ in range(20):
        os.environ.pop("W2V2_MT_NAME_SEED", None)
        load_environment()
        names.add(experiment_name(None))
    assert len(names) == 20


def test_the_seed_of_a_run_does_not_decide_its_name(project):
    load_environment()
    name = experiment_name(None)
    random.seed(0)
    assert experiment_name(None) == name
    state = random.getstate()
    experiment_name(None)
    assert random.getstate() == state


@pytest.mark.parametrize(
    "line",
    [
        "", "# a comment", "A=", "A=/x/y-z.1", "export A=b", "A=${HOME}/x", 'A="/a b/${HOME}"',
        "A='a # b'", "A=b # a comment", "A=a=b", "WANDB_API_KEY=0a1b", 'A="~/x"',
    ],
)  # fmt: skip
def test_a_line_that_is_accepted_is_the_same_to_python_and_bash(project, line):
    (project / ".env").write_text(line + "\n")
    check_env_file(project / ".env")
    with mock.patch.dict(os.environ, {"HOME": "/home/me"}):
        in_python = dotenv_values(project / ".env").get("A", "")
        script = f'. "{project}/.env"; printf %s "${{A:-}}"'
        in_bash = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert in_bash.stdout == in_python


@pytest.mark.parametrize(
    "line",
    [
        "A", "A=~/x", "A=$HOME/x", "A = b", "A= b", "A =b", "A=a b", "A=/x:~/y", "A='${HOME}'",
        "A='$HOME'", "A=b\r", 'A="$HOME"', 'A="a\\nb"', "A=$(date)", "A=`date`", "A=a;b",
        "A=(b)", 'A="b', "A=\udcff",
    ],
)  # fmt: skip
def test_a_line_that_bash_would_read_otherwise_is_refused(project, line):
    (project / ".env").write_bytes(f"# first\n{line}\n".encode(errors="surrogateescape"))
    with pytest.raises(SystemExit, match=r"^Error: line 2 of .*/\.env \(A\) must be NAME=value as"):
        load_environment()
