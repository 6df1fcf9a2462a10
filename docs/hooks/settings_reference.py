"""Write the settings page of the documentation from the comments of `config/**/*.yaml`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

CONFIG_FOLDER = Path(__file__).resolve().parents[2] / "config"
PAGE = "settings.md"
ASSEMBLY = "assembly"
"""Node that assembles the objects of a run from the other settings; it is not for users."""
_PACKAGE = "# @package "

_INTRODUCTION = """# Settings

Every setting with its default and the comment of its yaml file in `config/`. This page is generated
from these files. Write a setting as `key=value` and a group as `group=option` on the command line;
`--cfg job` prints every setting of a command with its value.

"""


@dataclass(frozen=True)
class Setting:
    """One key of a yaml file with its value as written and the comment above it."""

    key: str
    value: str
    comment: str


@dataclass(frozen=True)
class ConfigFile:
    """The description and the settings of one yaml file."""

    path: str
    package: str
    description: str
    parts: list[str]
    settings: list[Setting]


def read_config_file(path: Path, root: Path = CONFIG_FOLDER) -> ConfigFile:
    """Parse a yaml file together with its comments."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    relative = path.relative_to(root).with_suffix("")
    package = ".".join(relative.parts[:-1])
    if lines[0].startswith(_PACKAGE):
        package = lines.pop(0).removeprefix(_PACKAGE).strip().replace("_global_", "")
        text = "\n".join(lines)
    node = yaml.compose(text) or yaml.compose("{}")
    return ConfigFile(
        path=relative.as_posix(),
        package=package,
        description=_comment_from(lines, 0),
        parts=list(_parts_of((yaml.safe_load(text) or {}).get("defaults", []))),
        settings=list(_settings_of(node, lines, package)),
    )


def settings_page(root: Path = CONFIG_FOLDER) -> str:
    """Return the page as markdown, one section per yaml file."""
    paths = sorted(root.rglob("*.yaml"), key=lambda path: (len(path.relative_to(root).parts), path))
    return _INTRODUCTION + "\n".join(_section(read_config_file(path, root)) for path in paths)


def on_files(files: Any, config: Any) -> Any:
    """Add the page to the documentation; mkdocs calls this when it has found its files."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=settings_page()))
    return files


def _parts_of(defaults: list[Any]) -> Iterator[str]:
    """Yield the options of a defaults list, as `group=option` where it names a group."""
    for part in defaults:
        if isinstance(part, dict):
            yield from (f"{group}={option}" for group, option in part.items())
        elif part != "_self_":
            yield part


def _settings_of(node: yaml.Node, lines: list[str], prefix: str) -> Iterator[Setting]:
    assert isinstance(node, yaml.MappingNode)
    for key_node, value_node in node.value:
        if key_node.value == "defaults" and isinstance(value_node, yaml.SequenceNode):
            continue
        key = f"{prefix}.{key_node.value}" if prefix else key_node.value
        if key == ASSEMBLY:
            continue
        comment = _comment_above(lines, key_node.start_mark.line)
        if isinstance(value_node, yaml.MappingNode) and value_node.value:
            if comment:
                yield Setting(key, "", comment)
            yield from _settings_of(value_node, lines, key)
        else:
            yield Setting(key, _written(value_node, lines), comment)


def _written(node: yaml.Node, lines: list[str]) -> str:
    """Return a value as the file has it; a text of several lines only as its first one."""
    start, end = node.start_mark, node.end_mark
    if start.line != end.line and isinstance(node, yaml.ScalarNode):
        return f"{node.value.strip().splitlines()[0]} ..."
    return lines[start.line][start.column : end.column if start.line == end.line else None]


def _comment_above(lines: list[str], number: int) -> str:
    """Return the comment that ends directly above a line, as one paragraph."""
    first = number
    while first > 0 and lines[first - 1].strip().startswith("#"):
        first -= 1
    return _comment_from(lines[:number], first)


def _comment_from(lines: list[str], first: int) -> str:
    comment = []
    for line in lines[first:]:
        if not line.strip().removeprefix("#") or not line.strip().startswith("#"):
            break
        comment.append(line.strip().removeprefix("#").strip())
    return " ".join(comment)


def _section(file: ConfigFile) -> str:
    group, _, option = file.path.rpartition("/")
    title = f"{group}={option}" if group else file.path
    rows = [
        f"| `{setting.key}` | {_code(setting.value)} | {_cell(setting.comment)} |"
        for setting in file.settings
    ]
    table = ["| setting | default | meaning |", "|---|---|---|", *rows, ""] if rows else []
    parts = [f"Builds on {', '.join(f'`{part}`' for part in file.parts)}.", ""]
    return "\n".join(
        [f"## `{title}`", "", file.description, "", *(parts if file.parts else []), *table]
    )


def _code(value: str) -> str:
    return f"`{_cell(value)}`" if value else ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
