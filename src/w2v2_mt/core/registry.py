"""Registries of exchangeable classes, found by a registered name or by the dotted path of a class.

A registered name is always found. The dotted path of a class outside this package imports and runs
code, so it is only followed inside `trusting`: what a user writes on the command line or in a yaml
file of their own is trusted, a name found in a checkpoint or in somebody's run folder is not. Such
a file may name registered classes only, and those marked `loadable`.
"""

import importlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from difflib import get_close_matches
from typing import Generic, TypeVar

Class = TypeVar("Class", bound=type)

EVERYTHING = "*"
"""In `trusting`: follow the dotted path of any class."""

_trusted: ContextVar[tuple[str, ...]] = ContextVar("trusted names", default=())
_loadable: set[type] = set()


@contextmanager
def trusting(*names: str) -> Iterator[None]:
    """Follow dotted paths into these packages, such as `my_lab`, in addition to those trusted.

    A dotted name, such as `my_lab.pooling.TopK`, is trusted alone, without its package.
    """
    token = _trusted.set((*_trusted.get(), *names))
    try:
        yield
    finally:
        _trusted.reset(token)


def loadable(settings_class: Class) -> Class:
    """Let files, such as checkpoints, name this class in a `_target_`, as a registered one."""
    _loadable.add(settings_class)
    return settings_class


def is_loadable(found: object) -> bool:
    """Return True if a file, such as a checkpoint, may name this class in a `_target_`."""
    return isinstance(found, type) and found in _loadable


def import_class(path: str) -> type:
    """Return the class with a dotted path such as `my_lab.pooling.TopK`, if it is trusted."""
    module_name, _, name = path.rpartition(".")
    package = path.split(".")[0]
    trusted = {EVERYTHING, path}.intersection(_trusted.get())
    if not trusted and package not in _trusted.get():
        raise ValueError(
            f"{path} is a class outside of this program, and importing it runs its code. If you "
            f"trust {package}, add --trust {package} to a command or trust=[{package}] to a run."
        )
    try:
        found = getattr(importlib.import_module(module_name), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{path} cannot be imported ({error}). Correct the name, or add the folder of "
            f"{package} to PYTHONPATH."
        ) from error
    if not isinstance(found, type):
        raise ValueError(f"{path} must be a class, but is a {type(found).__name__}.")
    origin = found.__module__.split(".")[0]
    if not trusted and origin not in _trusted.get():
        # A trusted module that imports `Popen` does not make a checkpoint's `Popen` harmless.
        raise ValueError(
            f"{path} is a class of {origin}, which {package} only imports. If you trust {origin} "
            f"too, add --trust {origin} to a command or trust=[{package},{origin}] to a run."
        )
    return found


class Registry(Generic[Class]):
    """The classes of one kind, such as the poolings, by name.

    Args:
        kind: The name of one of them in messages, such as "pooling".
        setting: The setting that chooses one of them, such as "network.stat_pooling_type".
    """

    def __init__(self, kind: str, *, setting: str) -> None:
        self.kind = kind
        self.setting = setting
        self._classes: dict[str, Class] = {}

    def register(self, *names: str) -> Callable[[Class], Class]:
        """Return a decorator that registers a class under these names."""

        def add(registered: Class) -> Class:
            for name in names:
                assert name not in self._classes, f"{self.kind} {name} is registered twice"
                self._classes[name] = loadable(registered)
            return registered

        return add

    @property
    def names(self) -> list[str]:
        """The registered names in the order of registration."""
        return list(self._classes)

    def items(self) -> list[tuple[str, Class]]:
        """Return each registered name with its class."""
        return list(self._classes.items())

    def find(self, name: str) -> Class:
        """Return the class with a registered name or a dotted path; ValueError if not found."""
        if name in self._classes:
            return self._classes[name]
        if "." in name:
            return import_class(name)  # type: ignore[return-value]
        advice = did_you_mean(name, self.names) or f"Choose one of {', '.join(self.names)}."
        raise ValueError(f"{self.setting} ({name}) is not a registered {self.kind}. {advice}")


def parameters_of(item: Callable[..., object]) -> Mapping[str, inspect.Parameter]:
    """Return the keyword parameters that a class or function declares, by name."""
    return {
        name: parameter
        for name, parameter in inspect.signature(item).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def did_you_mean(word: str, candidates: list[str]) -> str | None:
    """Return a question that names the nearest candidate, or None if none is near."""
    nearest = get_close_matches(word, candidates, n=1)
    return f"Did you mean {nearest[0]!r}?" if nearest else None
