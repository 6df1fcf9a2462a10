import os
import re
import subprocess
import sys

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

from tests.helpers.documented_commands import (
    EXTENDING,
    PROJECT_FOLDER,
    Command,
    documented_commands,
    documented_module,
    experiment_commands,
    paper_commands,
)
from w2v2_mt.settings.overrides import expand_jobs
from w2v2_mt.settings.validation import check_settings

NUM_PUBLISHED = 25
"""Sweeps of the published experiments, some of them of a single run."""
NUM_WITH_FIRST_RATE = 38
"""Runs of the published experiments with only the first learning rate of each sweep."""

MARKDOWN = """
In a sentence, `python run_speech.py +experiment=a` is no block.
```bash
python run_speech.py -m +experiment=a \\
optim.algo.lr=1E-6,1E-5  \\
hydra/launcher=slurm tag=[x,y]
```
```
$ cp .env.example .env
python run_speech.py --cfg job
python run_speech.py +experiment=b
python run_speech.py +experiment=c
python run_speech.py +experiment=d hydra.run.dir=<folder>
DATA_FOLDER=$PWD/a PYTHONPATH=. python run_speech.py \\
    +experiment=e
```
"""


@pytest.fixture(scope="module", autouse=True)
def documented_lab(tmp_path_factory):
    """The package of which a page shows a class."""
    folder = tmp_path_factory.mktemp("documented")
    (folder / "my_lab").mkdir()
    (folder / "my_lab" / "pooling.py").write_text(documented_module(EXTENDING))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]


def _keys_and_values(overrides: list[str]) -> list[tuple[str, object]]:
    parsed = OverridesParser.create().parse_overrides(overrides)
    return [(override.key_or_group, override.value()) for override in parsed]


def test_commands_are_found_in_fenced_blocks_and_joined_at_backslashes():
    assert [command.text for command in experiment_commands(MARKDOWN)] == [
        "python run_speech.py -m +experiment=a optim.algo.lr=1E-6,1E-5 "
        "hydra/launcher=slurm tag=[x,y]",
        "python run_speech.py +experiment=b",
        "python run_speech.py +experiment=c",
        "python run_speech.py +experiment=e",
    ]
    assert experiment_commands(MARKDOWN)[-1].variables == "DATA_FOLDER=$PWD/a PYTHONPATH=. "


def test_a_sweep_is_split_into_runs_and_a_list_is_one_value():
    sweep, single, *_ = experiment_commands(MARKDOWN)
    launched = ["hydra/launcher=slurm", "tag=[x,y]"]
    assert sweep.jobs == [
        ["+experiment=a", "optim.algo.lr=1e-06", *launched],
        ["+experiment=a", "optim.algo.lr=1e-05", *launched],
    ]
    assert sweep.local_arguments == ["-m", "+experiment=a", "optim.algo.lr=1E-6,1E-5", "tag=[x,y]"]
    assert single.jobs == [["+experiment=b"]]


def test_the_first_learning_rate_of_a_sweep_leaves_all_else_as_it_is():
    command = Command("python run_x.py -m +experiment=a optim.algo.lr=1E-6,1E-5,1E-4 tag=[x,y,z]")
    assert command.with_first_rate.text == (
        "python run_x.py -m +experiment=a optim.algo.lr=1E-6 tag=[x,y,z]"
    )
    assert command.with_first_rate.with_first_rate == command.with_first_rate
    assert (
        sum(len(command.with_first_rate.jobs) for command in paper_commands())
        == NUM_WITH_FIRST_RATE
    )


def test_the_page_of_the_paper_has_every_published_sweep():
    sweeps = paper_commands()
    assert all(command.is_sweep for command in sweeps)
    assert len(set(sweeps)) == len(sweeps) == NUM_PUBLISHED
    num_runs = {
        script: sum(len(command.jobs) for command in sweeps if command.script == script)
        for script in sorted({command.script for command in sweeps})
    }
    assert num_runs == {"run_mt_speech_speaker.py": 128, "run_speaker.py": 56, "run_speech.py": 28}


def test_no_command_of_the_original_is_missing_or_changed(shared_folder):
    original = experiment_commands((shared_folder / "spec" / "original_readme.md").read_text())
    assert len(set(original)) == NUM_PUBLISHED
    assert set(original) == set(paper_commands())


def test_every_document_contributes_its_commands():
    commands = documented_commands()
    assert len(set(commands)) == len(commands)
    assert set(paper_commands()) < set(commands)
    assert {command.script for command in commands if not command.is_sweep} == {
        "run_mt_speech_speaker.py",
        "run_speaker.py",
        "run_speech.py",
    }


@pytest.mark.parametrize("command", documented_commands(), ids=str)
def test_every_job_of_a_command_composes_with_what_was_typed(command: Command):
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        for overrides in command.jobs:
            config = hydra.compose(command.config_name, overrides, return_hydra_config=True)
            choices = config.hydra.runtime.choices
            typed = _keys_and_values(overrides)
            for key, value in typed:
                arrived = choices[key] if key in choices else OmegaConf.select(config, key)
                assert arrived == value, key
            if "hydra/launcher" in dict(typed):
                launcher = hydra.utils.instantiate(config.hydra.launcher)
                assert type(launcher).__name__ == "SweepLauncher"
            with open_dict(config):
                del config["hydra"]
            check_settings(config)


@pytest.mark.parametrize("command", documented_commands(), ids=str)
def test_a_command_is_checked_as_the_jobs_that_the_sweeper_starts(command: Command):
    started = [
        [
            (key, value)
            for key, value in _keys_and_values(job)
            if key[:6] not in ("hydra/", "hydra.")
        ]
        for job in command.jobs
    ]
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        expanded = list(expand_jobs(command.overrides, loader))
    assert [_keys_and_values(job) for job in expanded] == started


def _shortened(command: Command) -> str:
    """Return a command of the demo's data with fewer steps, for a machine without SLURM."""
    short = re.sub(r"(max_steps|val_check_interval)=20\b", r"\1=2", command.text)
    short = re.sub(r" hydra/launcher=\S+", "", short).replace(" +debug=smoke", "")
    return f"{command.variables}{short} +debug=smoke"


WITH_VARIABLES = dict.fromkeys(
    _shortened(command) for command in documented_commands() if command.variables
)


@pytest.mark.parametrize("command", WITH_VARIABLES)
def test_a_command_with_variables_of_its_own_runs(
    command: str, documented_lab, smoke_data_folder, tmp_path
):
    (tmp_path / "my_lab").symlink_to(documented_lab / "my_lab")
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "data").symlink_to(smoke_data_folder)
    for script in PROJECT_FOLDER.glob("run_*.py"):
        (tmp_path / script.name).symlink_to(script)
    variables = {
        "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}",
        "LOG_FOLDER": str(tmp_path / "logs"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    finished = subprocess.run(
        ["bash", "-eu", "-c", command],
        cwd=tmp_path,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    num_runs = 4 if " -m " in command else 1
    assert len(list((tmp_path / "logs").rglob("metrics.json"))) == num_runs
