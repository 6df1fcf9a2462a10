"""The overrides of a command line: the jobs that they make, and what is wrong with one of them."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import hydra
from hydra.core.config_loader import ConfigLoader
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf

from w2v2_mt.app.sources import did_you_mean

_HYDRAS_OWN = "hydra"
_HANDED_ON = re.compile(r"""(?:\\.|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^ ])+""")
"""An override as a sweep hands it to a job; its spaces stand behind a backslash or in quotes."""


def expanded_jobs(overrides: Sequence[str], loader: ConfigLoader) -> Iterator[list[str]]:
    """The overrides of each job of a command; a value such as `1,2` makes two jobs.

    In a sweep, the last holds of what is given twice, as for Hydra.
    """
    parsed = [*_without_hydras_own(_parsed(overrides, loader))]
    if any(override.is_sweep_override() for override in parsed):
        parsed = [*{override.get_key_element(): override for override in parsed}.values()]
    choices = [
        [f"{override.get_key_element()}={value}" for value in override.sweep_string_iterator()]
        if override.is_sweep_override()
        else [str(override.input_line)]
        for override in parsed
    ]
    for combination in itertools.product(*choices):
        yield list(combination)


def split_overrides(text: str) -> list[str]:
    """The overrides of a job that were joined by spaces."""
    return _HANDED_ON.findall(text)


def name_and_value(override: str) -> tuple[str, str]:
    """In the form in which a sweep hands it to a job, as which `lr=1E-4` is `lr=0.0001`.

    A key that is added (`+debug=smoke`) is called as one that is set.
    """
    try:
        parsed = OverridesParser.create().parse_override(override)
        name, value = parsed.get_key_element(), parsed.get_value_element_as_str()
    except HydraException:  # It is from a file, which somebody may have changed.
        name, _, value = override.partition("=")
    return name.lstrip("+"), value


def wrong_option(overrides: Sequence[str], *, is_sweep: bool, loader: ConfigLoader) -> str | None:
    """One sentence about the first override that chooses an option which its group does not have.

    Or about one that has several values although the command is no sweep. None where all is well.
    """
    for override in _parsed(overrides, loader):
        if override.is_sweep_override() and not is_sweep:
            return (
                f"{override.input_line} has several values; add -m to the command for a job with "
                "each, or write [..] around them for a list."
            )
        options = _options(override, loader)
        wrong = [option for option in _chosen(override) if options and option not in options]
        if wrong:
            advice = _advice(wrong[0], options, "choose")
            return f"{override.key_or_group} has no option {wrong[0]!r}; {advice}"
    return None


def what_is_wrong(
    overrides: Sequence[str], *, config_name: str, loader: ConfigLoader
) -> str | None:
    """One sentence about the first override of a job that names no group or setting.

    None where each of them names one. Hydra must be initialised.
    """
    parsed = _without_hydras_own(_parsed(overrides, loader))
    choices = [override for override in parsed if _options(override, loader)]
    others = [override for override in parsed if not _options(override, loader)]
    for override in others:
        if "/" in override.key_or_group:
            advice = _advice(override.key_or_group, _groups(loader), "choose")
            return f"{override.key_or_group} is no group of settings; {advice}"
    known = _default_choices(config_name)
    for override in choices:
        changes_choice = not (override.is_add() or override.is_delete())
        if changes_choice and override.get_key_element() not in known:
            return (
                f"{override.key_or_group} is not among the settings of this command; to add it, "
                f"write +{override.input_line}."
            )
    config: Any = OmegaConf.to_container(
        hydra.compose(config_name, [str(override.input_line) for override in choices])
    )
    changes = [
        override for override in others if not (override.is_add() or override.is_force_add())
    ]
    problems = (_unknown_setting(override.key_or_group, config) for override in changes)
    return next(filter(None, problems), None)


def _default_choices(config_name: str) -> set[str]:
    config = hydra.compose(config_name, return_hydra_config=True)
    return set(config.hydra.runtime.choices)


def _parsed(overrides: Sequence[str], loader: ConfigLoader) -> list[Override]:
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def _without_hydras_own(overrides: Iterable[Override]) -> list[Override]:
    return [override for override in overrides if not override.key_or_group.startswith(_HYDRAS_OWN)]


def _options(override: Override, loader: ConfigLoader) -> list[str]:
    """Those of the group that an override names; none where it names a setting."""
    return loader.get_group_options(override.key_or_group, ObjectType.CONFIG)


def _chosen(override: Override) -> list[str]:
    if override.is_sweep_override():
        return [str(option) for option in override.sweep_iterator()]
    value = override.value()
    options = value if isinstance(value, list) else [] if value is None else [value]
    return [str(option) for option in options]


def _groups(loader: ConfigLoader, parent: str = "") -> list[str]:
    groups = []
    for name in loader.get_group_options(parent, ObjectType.GROUP):
        group = f"{parent}/{name}" if parent else name
        if group != _HYDRAS_OWN:
            groups += [group, *_groups(loader, group)]
    return groups


def _unknown_setting(key: str, config: dict[str, Any]) -> str | None:
    node: Any = config
    owner = "a run"
    for name in key.split("."):
        if not isinstance(node, dict):
            return None
        if name not in node:
            last_name = key.split(".")[-1]
            namesakes = [other for other in _keys(config) if other.split(".")[-1] == last_name]
            if namesakes:
                return f"{key} is no setting of {owner}; did you mean {' or '.join(namesakes)}?"
            names = [other for other in node if other != "_target_"]
            return f"{key} is no setting of {owner}; {_advice(name, names, 'use')}"
        node, owner = node[name], name if node is config else f"{owner}.{name}"
    return None


def _keys(config: dict[str, Any], parent: str = "") -> Iterator[str]:
    """The full keys of everything that is no block."""
    for name, value in config.items():
        key = f"{parent}.{name}" if parent else name
        if isinstance(value, dict):
            yield from _keys(value, key)
        else:
            yield key


def _advice(word: str, candidates: Iterable[str], verb: str) -> str:
    names = list(candidates)
    if not names:
        return "remove it."
    return did_you_mean(word, names) or f"{verb} one of {', '.join(names)}."
