"""Check a command line before anything is built: its groups, options and keys.

This needs no import of torch, so a typo is answered at once.
"""

import re
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.types import Override
from hydra.core.utils import env_override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from w2v2_mt.core.arguments import ConfigError, advise, join_key, raise_problems, unknown_key
from w2v2_mt.settings.data_kind import unfit_data
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.instantiation import TARGET, Config, flatten
from w2v2_mt.settings.overrides import (
    SEARCH_PATH,
    expand_jobs,
    is_hydras,
    parse_overrides,
    quote,
    repeated_keys,
    unquoted,
)
from w2v2_mt.settings.unused import unused_settings
from w2v2_mt.settings.validation import check_keys, check_settings, without_assembly

CONFIG_FOLDER = PROJECT_FOLDER / "config"

_QUESTIONS = "--cfg -c, --info -i, --package -p, --config-name -cn, --config-path -cp".split(", ")
"""Options of Hydra with a value, for which a command is not checked in advance."""

_OWN_DATA = "Those of your own need --config-dir <data_folder>/<name>_shards/config."
_VARIABLES = "hydra.job.env_set."
_OF_LAUNCH = {
    "hydra.launcher": "hydra/launcher",
    "hydra.sweeper": "hydra/sweeper",
    "hydra.sweep.dir": "hydra.sweep.dir",
}
"""Settings of Hydra that count for a whole sweep, and how a command sets them."""
_OF_SWEEPS = re.compile(r"hydra[./](launcher|sweeper|sweep)\b")


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """The arguments of a command.

    Args:
        is_sweep: Run a job for each combination of values.
        asks_for_information: Print help, settings or completions, and run nothing.
        config_folders: The folders of yaml files, that of the user included.
    """

    overrides: list[str]
    is_sweep: bool
    asks_for_information: bool
    config_folders: list[Path]

    @classmethod
    def parse(cls, arguments: Sequence[str]) -> "CommandLine":
        """Parse the arguments as Hydra does."""
        parser = ArgumentParser(add_help=False)
        parser.add_argument("--multirun", "-m", action="store_true")
        parser.add_argument("--run", "-r", action="store_true")
        for names in _QUESTIONS:
            parser.add_argument(*names.split(), nargs="?", const=True, dest="question")
        parser.add_argument("--config-dir", "-cd", type=Path)
        parser.add_argument("overrides", nargs="*")
        known, others = parser.parse_known_intermixed_args(list(arguments))
        folder = known.config_dir
        search_path = [] if folder is None else [f"{SEARCH_PATH}=[file://{folder.absolute()}]"]
        return cls(
            overrides=[*search_path, *known.overrides],
            is_sweep=known.multirun or "hydra.mode=MULTIRUN" in known.overrides,
            asks_for_information=bool(others or known.question),
            config_folders=[CONFIG_FOLDER, *([] if folder is None else [folder])],
        )


def check_command(config_name: str, command: CommandLine) -> None:
    """Compose and check every job of a command before the first of them starts."""
    for folder in command.config_folders:
        if not folder.is_dir():
            raise ConfigError(f"--config-dir ({folder}) must be a folder. Correct the path.")
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        checker = _Checker(config_name, command, GlobalHydra.instance().config_loader())
        try:
            raise_problems(unquoted(command.overrides))
            raise_problems(checker.wrong_options())
            expanded = expand_jobs(command.overrides, checker.loader)
            with env_override(checker.variables()):
                jobs = [checker.compose(overrides) for overrides in expanded]
                ignored = [*checker.ignored_launches(jobs)]
                for config in jobs:
                    option = str(config.hydra.runtime.choices.get("data"))
                    data, options = config.get("data"), checker.options("data")
                    raise_problems(unfit_data(config_name, data, option=option, options=options))
                    with open_dict(config):
                        del config["hydra"]
                    check_keys(config)
                settings = [check_settings(config) for config in jobs]
            for sentence in [*ignored, *checker.unused(settings)]:
                print(f"Note: {sentence}", file=sys.stderr)
        except HydraException as error:
            # The other lines of the message describe the implementation of Hydra.
            sentence = str(error).splitlines()[0].rstrip(".")
            if error.__cause__:
                sentence += f" ({str(error.__cause__).splitlines()[0]})"
            advice = "See every setting with --cfg job and every group with --help."
            raise ConfigError(f"{sentence}. {advice}") from error


@dataclass(frozen=True)
class _Checker:
    config_name: str
    command: CommandLine
    loader: ConfigLoader

    @cached_property
    def is_sweep(self) -> bool:
        """Return True for a sweep; a yaml file may ask for it, too (`hydra.mode: MULTIRUN`)."""
        parsed = parse_overrides(self.command.overrides, self.loader)
        lines = [str(each.input_line) for each in parsed if not each.is_sweep_override()]
        is_asked = len(lines) < len(parsed) or any(map(_OF_SWEEPS.match, self.command.overrides))
        if self.command.is_sweep or not is_asked:
            return self.command.is_sweep
        with suppress(HydraException):  # What is wrong is reported elsewhere.
            composed = hydra.compose(self.config_name, lines, return_hydra_config=True)
            return bool(composed.hydra.mode == RunMode.MULTIRUN)
        return False

    def wrong_options(self) -> Iterator[str]:
        parsed = parse_overrides(self.command.overrides, self.loader)
        for key in filter(self.options, repeated_keys(parsed)):
            yield f"{key} must be given once in a command. Remove all but one of them."
        for override in parsed:
            key, is_sweep = override.key_or_group, override.is_sweep_override()
            if is_sweep and not self.is_sweep:
                yield (
                    f"{override.input_line} must be one value. Add -m to the command for a job "
                    "with each value, write [..] around them for a list, or type "
                    f"{quote(str(override.input_line))} for a value with a comma."
                )
            yield from self._misplaced(override)
            if options := self.options(key):
                value: Any = [*override.sweep_iterator()] if is_sweep else override.value()
                chosen = value if isinstance(value, list) else [value]
                # Null removes a group, and a mapping changes settings of the chosen option.
                for option in chosen:
                    if not isinstance(option, dict | None) and str(option) not in options:
                        advice = advise(option, options)
                        if key == "data" and self.command.config_folders == [CONFIG_FOLDER]:
                            advice += f" {_OWN_DATA}"
                        yield f"{key} has no option {str(option)!r}. {advice}"

    def _misplaced(self, override: Override) -> Iterator[str]:
        """Yield a sentence for a setting of sweeps in a single run, or the other way round."""
        if self.is_sweep and override.key_or_group.startswith("hydra.run."):
            yield f"{override.input_line} has no effect with -m. Set hydra.sweep.dir instead."
        elif not self.is_sweep and _OF_SWEEPS.match(override.key_or_group):
            yield (
                f"{override.input_line} has no effect without -m. Add -m to the command, which "
                "also submits a single job."
            )

    def variables(self) -> dict[str, str]:
        """Return the environment variables that the command sets for its jobs."""
        parsed = parse_overrides(self.command.overrides, self.loader)
        return {
            override.key_or_group.removeprefix(_VARIABLES): str(override.value())
            for override in parsed
            if override.key_or_group.startswith(_VARIABLES) and not override.is_sweep_override()
        }

    def unused(self, jobs: Sequence[Config]) -> Iterator[str]:
        """Yield a sentence for each setting of the command that has no effect in any job."""
        parsed = parse_overrides(self.command.overrides, self.loader)
        for key in repeated_keys(parsed):
            yield f"{key} is given more than once, and only its last value counts."
        keys = [each.key_or_group for each in parsed if not each.is_delete()]
        unused, *others = [unused_settings(keys, config) for config in jobs]
        for key, sentence in unused.items():
            if all(key in other for other in others):
                yield sentence

    def ignored_launches(self, jobs: Sequence[DictConfig]) -> Iterator[str]:
        """Yield a sentence for each part of a launch that jobs of a sweep choose differently.

        Hydra composes the launcher and the folder of a sweep without its axes.
        """
        parsed = parse_overrides(self.command.overrides, self.loader)
        shared = [each for each in parsed if not (each.is_sweep_override() or is_hydras(each))]
        axes = [each.get_key_element() for each in parsed if each.is_sweep_override()]
        groups = [axis.lstrip("+") for axis in axes if self.options(axis.lstrip("+"))]
        if not (self.is_sweep and groups):
            return
        lines = [str(each.input_line) for each in shared]
        sweep = hydra.compose(self.config_name, lines, return_hydra_config=True)
        of_sweep, of_jobs = _of_launch(sweep), [_of_launch(job) for job in jobs]
        given = {each.key_or_group for each in parsed}
        for key, setting in _OF_LAUNCH.items():
            if setting not in given and any(of_job[key] != of_sweep[key] for of_job in of_jobs):
                yield (
                    f"{key} in an option of {' or '.join(groups)} has no effect, because a sweep "
                    f"is launched before its jobs choose their options. Add {setting}=... to the "
                    "command, for all jobs."
                )

    def compose(self, overrides: list[str]) -> DictConfig:
        """Compose a job together with the settings of Hydra."""
        try:
            return hydra.compose(self.config_name, overrides, return_hydra_config=True)
        except HydraException:
            raise_problems(self.wrong_keys(overrides))
            raise

    def wrong_keys(self, overrides: list[str]) -> Iterator[str]:
        """Yield a sentence for each override that names no group or setting."""
        parsed = parse_overrides(overrides, self.loader)
        choices = [
            each
            for each in parsed
            if self.options(each.key_or_group) or each.key_or_group == SEARCH_PATH
        ]
        others = [each for each in parsed if each not in choices]
        groups = [each.key_or_group for each in others if "/" in each.key_or_group]
        for group in groups:
            yield f"{group} is not a group of settings. {advise(group, list(self.groups()))}"
        composed = hydra.compose(self.config_name, return_hydra_config=True)
        absent = [
            each
            for each in choices
            if not (each.is_add() or each.is_delete() or is_hydras(each))
            and each.get_key_element() not in {*composed.hydra.runtime.choices, SEARCH_PATH}
        ]
        for override in absent:
            yield (
                f"{override.key_or_group} must be added, as this command has no such group yet. "
                f"Write +{override.input_line}."
            )
        if groups or absent:
            return
        lines = [str(override.input_line) for override in choices]
        config: Any = OmegaConf.to_container(hydra.compose(self.config_name, lines))
        for override in others:
            if not (override.is_add() or override.is_force_add()):
                yield from _unknown_setting(override.key_or_group, without_assembly(config))

    def options(self, group: str, kind: ObjectType = ObjectType.CONFIG) -> list[str]:
        """Return the options of a group, those in the user's own folder included."""
        folders = [each for each in self.command.overrides if each.startswith(SEARCH_PATH)]
        return self.loader.get_group_options(group, kind, overrides=folders)

    def groups(self, parent: str = "") -> Iterator[str]:
        for name in self.options(parent, ObjectType.GROUP):
            if name != "hydra":
                group = f"{parent}/{name}" if parent else name
                yield group
                yield from self.groups(group)


def _of_launch(config: DictConfig) -> Any:
    """Return the settings of a launch as they are written, with their references."""
    hydra: Any = OmegaConf.to_container(config.hydra, resolve=False)
    values = (hydra["launcher"], hydra["sweeper"], hydra["sweep"]["dir"])
    return dict(zip(_OF_LAUNCH, values, strict=True))


def _unknown_setting(key: str, config: Any) -> Iterator[str]:
    node, owner = config, ""
    for name in key.split("."):
        if node is None:
            yield f"{key} has no effect, because {owner} is null. Leave {key} out."
        if not isinstance(node, dict):
            return
        if name not in node:
            last = key.split(".")[-1]
            if namesakes := [each for each in flatten(config) if each.split(".")[-1] == last]:
                question = f"Did you mean {' or '.join(namesakes)}?"
                yield f"{key} is not a setting of {owner or 'a run'}. {question}"
            else:
                known = [each for each in node if each != TARGET]
                yield unknown_key(join_key(owner, name), owner, known)
            return
        node, owner = node[name], join_key(owner, name)
