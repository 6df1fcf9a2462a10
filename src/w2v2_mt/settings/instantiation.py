"""Build objects from settings, each checked against the annotations of its constructor.

A node is a block with `_target_`, the dotted path of a class, and arguments of its constructor. The
text `${a.b}` refers to the setting `a.b`; all references to a setting share one object.

A node that the user wrote may name any class or function of this package. A node from a file of
somebody else, such as a checkpoint, may only name a registered class.
"""

import importlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from w2v2_mt.core.arguments import ConfigError, check_arguments, join_key, raise_problems
from w2v2_mt.core.registry import did_you_mean, import_class, is_loadable

Config = dict[str, Any]
Object = TypeVar("Object")

TARGET = "_target_"
_REFERENCE = re.compile(r"\$\{([^:{}]+)\}")
_PACKAGE = "w2v2_mt"
_WRONG: Any = object()
"""The place of an object whose settings are wrong."""


def instantiate(
    node: Any,
    kind: type[Object] | Any = object,
    /,
    *,
    settings: Config | None = None,
    key: str = "",
    objects: Mapping[str, Any] | None = None,
    from_file: bool = False,
) -> Object | Any:
    """Build what a node, or a list or block of nodes, describes; nested nodes first.

    Args:
        node: The node.
        kind: The class or base class that the node must name.
        settings: The settings that references point into.
        key: The full key of the node, for messages.
        objects: Objects that exist already, by the key of their setting.
        from_file: True for a node of a file that somebody else may have written: classes of this
            package must be registered.
    """
    builder = _Builder(settings or {}, dict(objects or {}), from_file)
    built = builder.build(key, node, kind)
    raise_problems(builder.problems)
    return built


def check_targets(node: Any, key: str) -> None:
    """Raise a ConfigError if a node of a file names a class that it must not, at any depth."""
    problems = []
    for part_key, part in walk(node, key):
        if isinstance(part, dict) and TARGET in part:
            try:
                find_target(part[TARGET], from_file=True)
            except ValueError as error:
                problems.append(f"{join_key(part_key, TARGET)} ({part[TARGET]}): {error}")
    raise_problems(problems)


def find_target(path: Any, kind: type = object, *, from_file: bool = False) -> Any:
    """Return the class with a dotted path, or the function if any object will do.

    A ValueError says that the path leads nowhere, to something of another kind, out of this package
    without trust or, `from_file`, to what is not a registered class.
    """
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)+", path):
        raise ValueError("it must be the dotted path of a class.")
    if path.split(".")[0] != _PACKAGE:
        return import_class(path)
    module_name, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, name)
    except ImportError as error:
        raise ValueError(f"it cannot be imported ({error}). Correct the name.") from error
    except AttributeError as error:
        advice = did_you_mean(name, list(vars(module))) or "Correct the name."
        raise ValueError(f"{module_name} does not have it. {advice}") from error
    is_own = getattr(found, "__module__", "").split(".")[0] == _PACKAGE
    is_of_kind = issubclass(found, kind) if isinstance(found, type) else kind is object
    if not (is_own and callable(found) and is_of_kind):
        raise ValueError(f"it must be a {kind.__name__} of {_PACKAGE}. Correct the name.")
    if from_file and not is_loadable(found):
        raise ValueError(
            f"a file may only name a registered class of {_PACKAGE}, such as a tokenizer, and this "
            "is not one. Use a file as a run wrote it."
        )
    return found


def find_setting(settings: Config, key: str, default: Any = None) -> Any:
    """Return the setting with a full key, or the default if it does not exist."""
    node: Any = settings
    for name in key.split("."):
        if not isinstance(node, dict) or name not in node:
            return default
        node = node[name]
    return node


def walk(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a node and all its parts, each with its full key."""
    yield key, node
    if isinstance(node, dict):
        for name, part in node.items():
            yield from walk(part, join_key(key, name))
    elif isinstance(node, list | tuple):
        for index, part in enumerate(node):
            yield from walk(part, f"{key}[{index}]")


def flatten(block: Config, owner: str = "") -> Config:
    """Map the full key of each setting that is not a block to its value."""
    flat: Config = {}
    for name, value in block.items():
        key = join_key(owner, name)
        flat |= flatten(value, key) if isinstance(value, dict) else {key: value}
    return flat


@dataclass
class _Builder:
    """Builds objects and collects the problems of their settings."""

    settings: Config
    objects: dict[str, Any]
    from_file: bool = False
    problems: list[str] = field(default_factory=list)
    _open: list[str] = field(default_factory=list)
    """The settings whose objects are being built, each referred to by the one before it."""

    def build(self, key: str, value: Any, kind: type = object) -> Any:
        """Return a value with each node replaced by its object, or `_WRONG`."""
        if (reference := reference_of(value)) is not None:
            if reference not in self.objects:
                self.objects[reference] = self._build_setting(reference)
            return self.objects[reference]
        if isinstance(value, list):
            items = [self.build(f"{key}[{index}]", item) for index, item in enumerate(value)]
            return _WRONG if any(item is _WRONG for item in items) else items
        if not isinstance(value, dict) or key in self.objects:
            return self.objects.get(key, value)
        parts = {name: self.build(join_key(key, name), part) for name, part in value.items()}
        if TARGET in value:
            self.objects[key] = self._call(key, value, parts, kind)
            return self.objects[key]
        return _WRONG if any(part is _WRONG for part in parts.values()) else parts

    def _build_setting(self, key: str) -> Any:
        setting = find_setting(self.settings, key, _WRONG)
        if setting is _WRONG:
            self.problems.append(f"{key} must be set.")
        elif key in self._open:
            circle = " -> ".join([*self._open, key])
            self.problems.append(f"{key} must not refer to itself ({circle}). Write its value.")
            return _WRONG
        self._open.append(key)
        try:
            return self.build(key, setting)
        finally:
            self._open.pop()

    def _call(self, key: str, node: Config, parts: Config, kind: type) -> Any:
        path = parts.pop(TARGET)
        try:
            target = find_target(path, kind, from_file=self.from_file)
        except ValueError as error:
            self.problems.append(f"{join_key(key, TARGET)} ({path}): {error}")
            return _WRONG
        sound = {name: part for name, part in parts.items() if part is not _WRONG}
        keys = {name: reference_of(node[name]) or join_key(key, name) for name in parts}
        pending = parts.keys() - sound.keys()
        try:
            checked = check_arguments(target, sound, owner=key, keys=keys, pending=pending)
            return _WRONG if pending else target(**checked)
        except ConfigError as error:
            self.problems += error.problems
        except ValueError as error:
            text = str(error)
            self.problems.append(text if text.startswith(f"{key}.") else f"{key}: {text}")
        return _WRONG


def reference_of(value: Any) -> str | None:
    """Return the key of the setting that a text such as `${a.b}` refers to; otherwise None."""
    match = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
    return match and match[1]
