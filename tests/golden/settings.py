"""The settings that a command composes, as one flat table.

`settings.yaml` holds these tables of the commands in `commands.txt`; only the keys in which a
command differs from its entry point without arguments are written out.
"""

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import hydra
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

GOLDEN_FOLDER = Path(__file__).resolve().parent
PROJECT_FOLDER = GOLDEN_FOLDER.parents[1]
COMMANDS_FILE = GOLDEN_FOLDER / "commands.txt"
SETTINGS_FILE = GOLDEN_FOLDER / "settings.yaml"
CHANGES_FILE = GOLDEN_FOLDER / "changes.yaml"

CONFIG_NAMES = {
    "run_speech.py": "train_speech",
    "run_speaker.py": "train_speaker",
    "run_mt_speech_speaker.py": "train_mt_speaker_speech",
}
ENVIRONMENT = {
    "DATA_FOLDER": "/data",
    "TEMP_FOLDER": "/temp",
    "LOG_FOLDER": "/logs",
    "USE_WANDB": "false",
    "NUM_GPUS": "1",
}
HYDRA_NODES = ("run", "sweep", "launcher")
LAUNCHER_CHOICE = "hydra/launcher="
ABSENT = "(absent)"
"""The value of a key that a table does not have."""

Table = dict[str, Any]
"""A value by the full key of each setting."""


def golden_commands() -> list[str]:
    """Return the commands whose settings are frozen, without the word `python`."""
    lines = COMMANDS_FILE.read_text().splitlines()
    return [line.removeprefix("python ") for line in lines if line.startswith("python ")]


@contextmanager
def config_folder() -> Iterator[None]:
    """Let Hydra compose settings that depend on no `.env` and no environment."""
    folder = str(PROJECT_FOLDER / "config")
    with mock.patch.dict(os.environ, ENVIRONMENT):
        for name in [name for name in os.environ if name.startswith("CLUSTER_")]:
            del os.environ[name]
        with hydra.initialize_config_dir(folder, version_base="1.3"):
            yield


def compose_command(command: str) -> Table:
    """Compose the settings of a command; of a sweep, those of its first job.

    The launcher of a sweep is left out: the four launchers have commands of their own.
    """
    script, *arguments = shlex.split(command)
    if "-m" in arguments:
        arguments = [each for each in arguments if not each.startswith((LAUNCHER_CHOICE, "-m"))]
    overrides = [_first_value(argument) for argument in arguments]
    config = hydra.compose(
        CONFIG_NAMES[script],
        # Every run has another name.
        [*overrides, "experiment_name=name"],
        return_hydra_config=True,
    )
    of_hydra = {f"hydra.{node}": OmegaConf.to_container(config.hydra[node]) for node in HYDRA_NODES}
    settings = {name: _plain(config, name) for name in config if name != "hydra"}
    return dict(_flatten({**settings, **of_hydra}))  # type: ignore[dict-item]


def _first_value(argument: str) -> str:
    override = OverridesParser.create().parse_override(argument)
    if not override.is_sweep_override():
        return argument
    return f"{override.get_key_element()}={next(override.sweep_string_iterator())}"


def _plain(node: DictConfig, name: Any) -> Any:
    """Resolve a value, but keep an interpolation that stands for a whole group as its text."""
    raw = OmegaConf.to_container(node, resolve=False)
    value = node[name]
    if not isinstance(value, DictConfig):
        return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_list(value) else value
    if isinstance(raw, dict) and isinstance(raw[name], str):
        return raw[name]
    return {key: _plain(value, key) for key in value}


def _flatten(settings: Table, parent: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value with its full key; `_target_` names code, which is free to move."""
    for name, value in settings.items():
        key = f"{parent}.{name}" if parent else str(name)
        if isinstance(value, dict) and value:
            yield from _flatten(value, key)
        elif name != "_target_":
            yield key, value


def changed_keys(before: Table, after: Table) -> Table:
    """Return the keys of `after` that differ from `before`, and ABSENT for keys it lacks."""
    return {
        key: after.get(key, ABSENT)
        for key in [*after, *(key for key in before if key not in after)]
        if key not in before or before[key] != after.get(key, ABSENT)
    }


def apply_changes(table: Table, changes: Table) -> Table:
    """Undo `changed_keys`."""
    return {key: value for key, value in {**table, **changes}.items() if value != ABSENT}


def read_golden_settings() -> dict[str, Table]:
    """Return the frozen settings of each command."""
    content = yaml.safe_load(SETTINGS_FILE.read_text())
    return {
        entry["command"]: apply_changes(content[script]["without arguments"], entry["changes"])
        for script in content
        for entry in content[script]["commands"]
    }


def write_golden_settings() -> None:
    """Compose all commands and write `settings.yaml`."""
    content: dict[str, Any] = {}
    with config_folder():
        for script in CONFIG_NAMES:
            defaults = compose_command(script)
            commands = [each for each in golden_commands() if shlex.split(each)[0] == script]
            content[script] = {
                "without arguments": defaults,
                "commands": [
                    {"command": each, "changes": changed_keys(defaults, compose_command(each))}
                    for each in commands
                ],
            }
    SETTINGS_FILE.write_text(yaml.safe_dump(content, sort_keys=False, width=10_000))
