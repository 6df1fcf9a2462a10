"""The parameters of a class or function, read from its source without importing it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Optional, Union

from w2v2_mt.app.sources import Module, TargetError, bindings, find_origin
from w2v2_mt.core import constraints

_TYPES: dict[str, Any] = {
    **{kind.__name__: kind for kind in (int, float, bool, str, list, tuple, dict)},
    **dict.fromkeys(("List", "Sequence", "Iterable", "Collection"), list),
    **dict.fromkeys(("Dict", "Mapping", "MutableMapping"), dict),
    "Tuple": tuple,
    "Optional": Optional,
    "Union": Union,
    "Literal": Literal,
    "Annotated": Annotated,
}
_TYPE_MODULES = ("builtins", "typing", "typing_extensions", "collections.abc")

_UNREAD_CLASSES = ("torch.Tensor", "torch.nn.Module")
"""They take nothing from a config, and the files that define them take long to read."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """What may be passed under one name; `read_signature` says what an annotation can be."""

    annotation: object
    is_required: bool


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What may be passed by name."""

    parameters: dict[str, Parameter]
    accepts_any_name: bool = False


def read_signature(target: str) -> Signature:
    """The parameters of the class or function that a dotted name such as `torch.optim.Adam` means.

    An annotation becomes int, float, bool, str, None, list[..], tuple[..], dict[.., ..], Literal,
    Annotated with an Interval, or a Union of these. Anything else is object, and so is a name from
    another package: aliases are followed inside of the package that uses them.
    Raises TargetError when the name leads to no class or function.
    """
    module, name = find_origin(target)
    definition = module.names.get(name)
    if isinstance(definition, ast.ClassDef):
        return _class_signature(module, definition) or Signature(parameters={})
    if isinstance(definition, ast.FunctionDef):
        return _function_signature(module, definition)
    if isinstance(definition, ast.AST) and (alias := module.dotted_name(definition)):
        return read_signature(alias)
    raise TargetError(f"{target} is neither a class nor a function of a package; name one that is.")


def _class_signature(module: Module, node: ast.ClassDef) -> Signature | None:
    """None for a class that defines no way to make it, and whose bases define none either."""
    constructor = dict(bindings(node.body, module.name)).get("__init__")
    if isinstance(constructor, ast.FunctionDef):
        return _function_signature(module, constructor)
    inherited = next(_base_signatures(module, node), None)
    if not _is_dataclass(module, node):
        return inherited
    return Signature(
        parameters={
            **(inherited.parameters if inherited else {}),
            **dict(_dataclass_fields(module, node)),
        }
    )


def _base_signatures(module: Module, node: ast.ClassDef) -> Iterator[Signature]:
    for base in node.bases:
        dotted = module.dotted_name(base.value if isinstance(base, ast.Subscript) else base)
        if dotted is None or dotted in _UNREAD_CLASSES:
            continue
        try:
            base_module, name = find_origin(dotted)
        except TargetError:  # a class that is not written in Python
            continue
        base_node = base_module.names.get(name)
        if isinstance(base_node, ast.ClassDef):
            signature = _class_signature(base_module, base_node)
            if signature:
                yield signature


def _is_dataclass(module: Module, node: ast.ClassDef) -> bool:
    decorators = [getattr(decorator, "func", decorator) for decorator in node.decorator_list]
    return "dataclasses.dataclass" in map(module.dotted_name, decorators)


def _dataclass_fields(module: Module, node: ast.ClassDef) -> Iterator[tuple[str, Parameter]]:
    for statement in node.body:
        match statement:
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=default):
                kind = annotation.value if isinstance(annotation, ast.Subscript) else annotation
                if module.dotted_name(kind) in ("typing.ClassVar", "dataclasses.KW_ONLY"):
                    continue
                is_required = default is None
                if isinstance(default, ast.Call) and (
                    module.dotted_name(default.func) == "dataclasses.field"
                ):
                    options = {option.arg: ast.unparse(option.value) for option in default.keywords}
                    if options.get("init") == "False":
                        continue
                    is_required = not options.keys() & {"default", "default_factory"}
                yield name, _parameter(module, annotation, is_required=is_required)


def _function_signature(module: Module, node: ast.FunctionDef) -> Signature:
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    required = positional[: len(positional) - len(arguments.defaults)]
    required += [
        argument
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is None
    ]
    return Signature(
        parameters={
            argument.arg: _parameter(module, argument.annotation, is_required=argument in required)
            for argument in [*arguments.args, *arguments.kwonlyargs]
            if argument.arg != "self"
        },
        accepts_any_name=arguments.kwarg is not None,
    )


def _parameter(module: Module, annotation: ast.AST | None, *, is_required: bool) -> Parameter:
    return Parameter(annotation=_type_of(module, annotation), is_required=is_required)


def _type_of(module: Module, node: ast.AST | str | None, aliases: tuple[str, ...] = ()) -> Any:
    """The type that an annotation means; `aliases` are those that led to it."""
    match node:
        case ast.Constant(value=None):
            return type(None)
        case ast.Constant(value=str(quoted)):
            return _type_of(module, ast.parse(quoted, mode="eval").body, aliases)
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            return _type_of(module, left, aliases) | _type_of(module, right, aliases)
        case ast.Subscript(value=value, slice=content):
            arguments = content.elts if isinstance(content, ast.Tuple) else [content]
            return _generic_type(module, _type_of(module, value, aliases), arguments, aliases)
        case ast.Name() | ast.Attribute():
            return _named_type(module, module.dotted_name(node), aliases)
    return object


def _generic_type(
    module: Module, kind: Any, arguments: list[ast.expr], aliases: tuple[str, ...]
) -> Any:
    if kind is Literal:
        try:
            return Literal[tuple(map(ast.literal_eval, arguments))]
        except ValueError:  # a member of an Enum
            return object
    if kind is Annotated:
        base = _type_of(module, arguments[0], aliases)
        intervals = [_interval(module, remark) for remark in arguments[1:]]
        parts = (base, *filter(None, intervals))
        is_bounded = base in (int, float) and len(parts) > 1
        return Annotated[parts] if is_bounded else base
    types: list[Any] = [
        ... if ast.unparse(argument) == "..." else _type_of(module, argument, aliases)
        for argument in arguments
    ]
    if kind is Union:
        return reduce(or_, types)
    if kind is Optional:
        return types[0] | None
    return kind[tuple(types)] if kind in (list, tuple, dict) else object


def _named_type(module: Module, dotted: str | None, aliases: tuple[str, ...]) -> Any:
    if dotted is None or dotted in (*_UNREAD_CLASSES, *aliases):
        return object
    owner, _, name = dotted.rpartition(".")
    if owner in _TYPE_MODULES:
        return _TYPES.get(name, object)
    if owner == constraints.__name__:
        return getattr(constraints, name, object)
    if owner.split(".")[0] != module.name.split(".")[0]:
        return object
    try:
        origin, name = find_origin(dotted)
    except TargetError:
        return object
    if dotted != f"{origin.name}.{name}":
        return _named_type(module, f"{origin.name}.{name}", aliases)
    return _type_of(origin, origin.names[name], (*aliases, dotted))


def _interval(module: Module, node: ast.expr) -> constraints.Interval | None:
    """The interval that an annotation writes out; None for any other remark."""
    if not isinstance(node, ast.Call):
        return None
    if module.dotted_name(node.func) != f"{constraints.__name__}.Interval":
        return None
    try:
        bounds = {str(bound.arg): ast.literal_eval(bound.value) for bound in node.keywords}
    except ValueError:  # a bound such as math.pi is left to the class itself
        return None
    return constraints.Interval(**bounds)
