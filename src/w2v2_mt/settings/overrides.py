"""Parse the overrides of a command line, and expand them to the jobs of a sweep."""

import itertools
import math
import os
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.settings.instantiation import flatten, walk

SEARCH_PATH = "hydra.searchpath"
SET_MAPPINGS = ("val_sets", "test_sets", "test_trials")
"""Settings of a corpus that map names, which the user chooses, to folders or files."""
_SETS = re.compile(rf"(data(?:\.\w+)*\.(?:{'|'.join(SET_MAPPINGS)}))(\.\w+)?=(.*)", re.DOTALL)
_JOINED = re.compile(r"""(?:\\.|'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|[^ ])+""")
"""An override among others that are joined by spaces; its own spaces are escaped or quoted."""
_MAX_NUM_JOBS = 100_000


def parse_overrides(overrides: Sequence[str], loader: ConfigLoader | None = None) -> list[Override]:
    """Parse overrides; the loader finds the options of `glob(*)`."""
    return OverridesParser.create(config_loader=loader).parse_overrides(list(overrides))


def free_set_names(arguments: Sequence[str], config_folders: Sequence[Path]) -> list[str]:
    """Return the arguments such that sets of evaluation may have any names.

    Hydra merges a mapping into that of the yaml file, and refuses names that are not in it. Here
    `data.test_sets={mine: folder}` replaces the mapping, as it sets the names of all yaml files in
    `config_folders` to null, which `drop_null_sets` removes; `data.test_sets.mine=folder` adds one.
    """
    if not any(map(_SETS.fullmatch, arguments)):
        return list(arguments)
    files = [file for folder in config_folders for file in folder.rglob("*.yaml")]
    contents = [yaml.safe_load(file.read_text("utf-8")) for file in files]
    names = {str(name) for sets in _find_sets(contents) for name in sets}
    nulls = ", ".join(f"{name}: null" for name in sorted(names))
    freed = []
    for argument in arguments:
        if match := _SETS.fullmatch(argument):
            key, name, value = match.groups()
            if name is None:
                # The braces of an interpolation begin with a dollar sign.
                value = re.sub(r"(?<!\$)\{(?=\s*\})", f"{{{nulls}", value)
                value = re.sub(rf"(?<!\$)\{{(?!{re.escape(nulls)})", f"{{{nulls}, ", value)
            argument = f"++{key}{name or ''}={value}"
        freed.append(argument)
    return freed


def _find_sets(node: Any) -> list[dict[str, Any]]:
    """Return each mapping of sets of evaluation in settings."""
    blocks = [part for _, part in walk(node) if isinstance(part, dict)]
    found = [block.get(key) for block in blocks for key in SET_MAPPINGS]
    return [sets for sets in found if isinstance(sets, dict)]


def drop_null_sets(node: Any) -> None:
    """Remove the sets of evaluation that are null from settings, in place."""
    for sets in _find_sets(node):
        for name in [name for name, each in sets.items() if each is None]:
            del sets[name]


def unquoted(overrides: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each override that cannot be parsed; most need quotes."""
    for override in overrides:
        with suppress(HydraException):
            parse_overrides([override])
            continue
        value = override.partition("=")[2]
        if value[:1] in ("[", "{"):
            yield (
                f"{override} must close its brackets, and hold signs such as = in quotes. Type "
                f"{quote(override)} if it is a text."
            )
            continue
        with suppress(HydraException):
            parse_overrides(shlex.split(quote(override)))
            if value:
                yield f"{override} has characters that must be quoted. Type {quote(override)}."
                continue
        yield (
            f"{override} must be NAME=VALUE, such as seed=1. Put quotes around an argument with "
            "blanks or brackets."
        )


def repeated_keys(overrides: Sequence[Override]) -> Iterator[str]:
    """Yield each key that a command sets more than once, of which only the last value counts.

    A key may be removed with `~` and then added, and a mapping changed at one of its other keys.
    """
    counts = Counter[str]()
    for override in overrides:
        key = override.get_key_element().lstrip("+")
        if not override.is_delete() and key != SEARCH_PATH:  # The option --config-dir sets it too.
            items = flatten({key: override.value()}).items()
            counts.update({key, *(item for item, value in items if value is not None)})
    for key, number in counts.items():
        if number > 1:
            yield key


def quote(override: str) -> str:
    """Return an override with its value in quotes for Hydra, and in quotes for the shell."""
    name, _, value = override.partition("=")
    if value[:1] == "~":
        value = os.path.expanduser(value)
    escaped = re.sub(r'(\\*)"', r'\1\1\\"', re.sub(r"(\\+)$", r"\1\1", value))
    return shlex.quote(f'{name}="{escaped}"')


def is_hydras(override: Override) -> bool:
    """Return True for an override of Hydra's own settings, but not of its search path."""
    key = override.key_or_group
    return key.startswith("hydra") and key != SEARCH_PATH


def expand_jobs(overrides: Sequence[str], loader: ConfigLoader) -> Iterator[list[str]]:
    """Yield the overrides of each job of a command; a value such as `1,2` makes two jobs.

    As in Hydra, the last override of a key counts in a sweep. A sampling sweeper (`hydra/sweeper=`)
    tries few of the combinations: here each value is in one job at least, and values that it draws,
    such as of `interval(0,1)`, are in none.

    Raises:
        ConfigError: There are more jobs than any cluster runs, such as of `range(1,1000000000)`.
    """
    parsed = [each for each in parse_overrides(overrides, loader) if not is_hydras(each)]
    if any(override.is_sweep_override() for override in parsed):
        parsed = [*{override.get_key_element(): override for override in parsed}.values()]
    choices = []
    for override in parsed:
        if override.is_interval_sweep():
            continue
        lines: Iterable[str] = [str(override.input_line)]
        if override.is_sweep_override():
            values = override.sweep_string_iterator()
            lines = (f"{override.get_key_element()}={value}" for value in values)
        choices.append(list(itertools.islice(lines, _MAX_NUM_JOBS + 1)))
    if any(each.startswith("hydra/sweeper=") for each in overrides):
        for number in range(max(map(len, choices), default=1)):
            yield [values[number % len(values)] for values in choices]
        return
    if math.prod(map(len, choices)) > _MAX_NUM_JOBS:
        raise ConfigError(f"A sweep must have at most {_MAX_NUM_JOBS} jobs. Give fewer values.")
    for combination in itertools.product(*choices):
        yield list(combination)


def split_overrides(text: str) -> list[str]:
    """Split the overrides of a job that were joined by spaces."""
    return _JOINED.findall(text)


def name_and_value(override: str) -> tuple[str, str]:
    """Return the key and the value of an override, in the form in which a sweep passes them on.

    For example, `lr=1E-4` is `lr=0.0001`. The `+` of a key that is added is dropped.
    """
    try:
        parsed = parse_overrides([override])[0]
        name, value = parsed.get_key_element(), parsed.get_value_element_as_str()
    except HydraException:  # The override is from a file that was edited.
        name, _, value = override.partition("=")
    return name.lstrip("+"), value
