"""Where a dotted name is defined, found in source files without importing them."""

import ast
import builtins
import importlib.util
import pkgutil
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path


class TargetError(ValueError):
    """A dotted name that leads to no definition."""


@dataclass(frozen=True, kw_only=True)
class Module:
    """A source file: each name has its definition, its value, or the place it is imported from."""

    name: str
    names: dict[str, ast.AST | str]
    star_imports: list[str]

    def dotted_name(self, expression: ast.AST) -> str | None:
        """What `a` or `a.b.c` means in this file; None for any other expression."""
        match expression:
            case ast.Attribute(value=owner, attr=attribute):
                dotted = self.dotted_name(owner)
                return f"{dotted}.{attribute}" if dotted else None
            case ast.Name(id=name):
                known = self.names.get(name)
                if isinstance(known, str):
                    return known
                is_builtin = known is None and hasattr(builtins, name)
                return f"{'builtins' if is_builtin else self.name}.{name}"
        return None


def find_origin(dotted: str, importers: tuple[str, ...] = ()) -> tuple[Module, str]:
    """The module that defines what a dotted name means, behind all re-exports, and its name there.

    The standard library is not searched for re-exports. Raises TargetError when the name leads
    nowhere.
    """
    module_name, name, *inner_names = _split(dotted)
    if module_name.split(".")[0] in (*sys.stdlib_module_names, "typing_extensions"):
        return Module(name=module_name, names={}, star_imports=[]), name
    if dotted in importers:
        raise TargetError(f"{dotted} is a module; name a class or a function in it.")
    importers = (*importers, dotted)
    module = _read_module(module_name)
    definition = module.names.get(name)
    if isinstance(definition, str):
        return find_origin(".".join([definition, *inner_names]), importers)
    if definition is not None and inner_names:
        raise TargetError(f"{dotted} is inside of {name}; name a class or a function of a module.")
    if definition is not None:
        return module, name
    for star_import in module.star_imports:
        try:
            return find_origin(".".join([star_import, name, *inner_names]), importers)
        except TargetError:
            continue
    submodule_names = _submodule_names(module_name)
    if name in submodule_names:
        raise TargetError(f"{dotted} is a module; name a class or a function in it.")
    nearest = did_you_mean(name, [*module.names, *submodule_names])
    raise TargetError(f"{module_name} has no {name!r}; {nearest or 'correct the name.'}")


def bindings(statements: Iterable[ast.AST], package: str) -> Iterator[tuple[str, ast.AST | str]]:
    """The names that statements bind, also inside of `if` and `try`; "*" for a star import."""
    for statement in statements:
        match statement:
            case ast.ClassDef(name=name):
                yield name, statement
            case ast.FunctionDef(name=name) if not _is_overload(statement):
                yield name, statement
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                yield name, value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                yield name, value
            case ast.Import(names=aliases):
                for alias in aliases:
                    top_name = alias.name.split(".")[0]
                    yield (alias.asname, alias.name) if alias.asname else (top_name, top_name)
            case ast.ImportFrom(module=module, names=aliases, level=level):
                source = importlib.util.resolve_name("." * level + (module or ""), package)
                for alias in aliases:
                    origin = source if alias.name == "*" else f"{source}.{alias.name}"
                    yield alias.asname or alias.name, origin
            case ast.If(body=body, orelse=orelse):
                yield from bindings([*body, *orelse], package)
            case ast.Try(body=body, handlers=handlers, orelse=orelse):
                handled = [line for handler in handlers for line in handler.body]
                yield from bindings([*body, *orelse, *handled], package)


def did_you_mean(word: str, candidates: Iterable[str]) -> str | None:
    """A question that names the nearest candidate; None when none is near."""
    nearest = get_close_matches(word, candidates, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else None


def _split(dotted: str) -> list[str]:
    """The longest module that leaves a name behind it, and the names behind it."""
    parts = dotted.split(".")
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise TargetError(f"{dotted!r} is no dotted name; write it as package.module.name.")
    for num_module_parts in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:num_module_parts])
        if _find_spec(module_name):
            return [module_name, *parts[num_module_parts:]]
    nearest = did_you_mean(parts[0], [module.name for module in pkgutil.iter_modules()])
    raise TargetError(
        f"there is no package {parts[0]!r}; {nearest or 'install it or correct the name.'}"
    )


def _find_spec(module_name: str) -> ModuleSpec | None:
    """Like importlib.util.find_spec, which would import the packages above the module."""
    package, _, _ = module_name.rpartition(".")
    if package:
        spec = _find_spec(package)
        locations = spec and spec.submodule_search_locations
        return PathFinder.find_spec(module_name, locations) if locations else None
    try:
        return importlib.util.find_spec(module_name)
    except ValueError:  # an imported module without a spec, such as __main__
        return None


def _submodule_names(module_name: str) -> list[str]:
    spec = _find_spec(module_name)
    locations = spec.submodule_search_locations if spec else None
    return [module.name for module in pkgutil.iter_modules(locations or [])]


def _read_module(name: str) -> Module:
    spec = _find_spec(name)
    assert spec is not None, name
    if spec.origin is None or not spec.origin.endswith(".py"):
        return Module(name=name, names={}, star_imports=[])
    is_package = spec.submodule_search_locations is not None
    return _parse(name, Path(spec.origin), package=name if is_package else spec.parent or "")


@cache
def _parse(name: str, path: Path, package: str) -> Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the style of other people's code
        tree = ast.parse(path.read_bytes(), filename=str(path))
    names: dict[str, ast.AST | str] = {}
    star_imports = []
    for bound_name, definition in bindings(tree.body, package):
        if bound_name == "*" and isinstance(definition, str):
            star_imports.append(definition)
        else:
            # The first binding wins: the other ones are fallbacks, such as `except ImportError`.
            names.setdefault(bound_name, definition)
    return Module(name=name, names=names, star_imports=star_imports)


def _is_overload(function: ast.FunctionDef) -> bool:
    return any(ast.unparse(decorator).endswith("overload") for decorator in function.decorator_list)
