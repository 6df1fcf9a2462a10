"""Check arguments against the annotations of a constructor with pydantic, in plain sentences."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import Annotated, Any, get_origin

from pydantic import ConfigDict, Strict, TypeAdapter, ValidationError
from typing_extensions import NotRequired, Required, TypedDict

from w2v2_mt.core.registry import Registry, did_you_mean, parameters_of

_CONFIG = ConfigDict(strict=True, extra="allow", arbitrary_types_allowed=True, allow_inf_nan=False)


class ConfigError(ValueError):
    """Everything that is wrong with some settings, one sentence each and per line.

    Processes that send it to others make it again from its whole text.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


def raise_problems(problems: Iterable[str]) -> None:
    """Raise a ConfigError if there are any problems."""
    if problems := list(problems):
        raise ConfigError(*problems)


def check_arguments(
    target: Callable[..., object],
    arguments: Mapping[str, Any],
    *,
    owner: str = "",
    keys: Mapping[str, str] | None = None,
    pending: Collection[str] = (),
) -> dict[str, Any]:
    """Return the keyword arguments of a call of `target`, a list as a tuple where it takes one.

    A parameter annotated with a `Registry`, such as `Annotated[str, POOLINGS]`, takes a registered
    name or a dotted path. If `target` has `**parameters`, the parameters that the classes of the
    registry declare are arguments too. A parameter called `options` collects them likewise.

    Messages name the key of an argument: that in `keys`, or else its name below the key `owner`.
    The arguments in `pending` are known to be wrong and need no second message.
    """
    signature = inspect.signature(target, eval_str=True).parameters
    kinds = {parameter.kind for parameter in signature.values()}
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = {name: each for name, each in signature.items() if each.kind not in variadic}
    choices, problems = _choices(parameters, arguments)
    declared = {
        name: parameter.replace(default=None)  # A class that is not chosen needs no arguments.
        for choice in choices
        for name, parameter in parameters_of(choice).items()
    } | parameters
    given = dict(arguments)
    if "options" in parameters:
        given["options"] = {name: given.pop(name) for name in arguments if name not in declared}
    keys = {name: join_key(owner, name) for name in [*declared, *arguments]} | dict(keys or {})
    try:
        given = dict(_adapter(tuple(declared.values())).validate_python(given))
    except ValidationError as error:
        problems += _sentences(error, given, keys, pending)
    # torch gives a module a constructor with *args and **kwargs, but it takes no arguments.
    if choices or kinds & {*variadic} != {inspect.Parameter.VAR_KEYWORD}:
        unknown = [name for name in given if name not in declared]
        problems += [unknown_key(keys[name], owner, declared) for name in unknown]
    raise_problems(problems)
    return given


def join_key(owner: str, name: object) -> str:
    """Return the full key of a setting."""
    return f"{owner}.{name}" if owner else str(name)


def unknown_key(key: str, owner: str, names: Iterable[str]) -> str:
    """Return a sentence about a key that does not exist."""
    advice = advise(key.split(".")[-1], list(names))
    return f"{key} is not a setting of {owner or 'a run'}. {advice}"


def advise(word: str, candidates: list[str]) -> str:
    """Name the nearest candidate or, if none is near, all of them."""
    choice = f"Choose one of {', '.join(candidates)}." if candidates else "Remove it."
    return did_you_mean(word, candidates) or choice


def yaml_text(value: object) -> str:
    """Return a value as yaml writes it, and the class of an object."""
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    return str(value) if isinstance(value, (int, float, str, list, dict)) else type(value).__name__


def _choices(
    parameters: Mapping[str, inspect.Parameter], arguments: Mapping[str, Any]
) -> tuple[list[Callable[..., object]], list[str]]:
    """Return the classes of all registries of the parameters, and problems with chosen names."""
    choices: list[Callable[..., object]] = []
    problems: list[str] = []
    for name, parameter in parameters.items():
        for registry in getattr(parameter.annotation, "__metadata__", ()):
            if isinstance(registry, Registry):
                choices += [item for _, item in registry.items()]
                if isinstance(choice := arguments.get(name), str):
                    try:
                        choices.append(registry.find(choice))
                    except ValueError as error:
                        problems.append(str(error))
    return choices, problems


@cache
def _adapter(parameters: tuple[inspect.Parameter, ...]) -> Any:
    fields: dict[str, Any] = {}
    for parameter in parameters:
        kind = Any if parameter.annotation is parameter.empty else parameter.annotation
        if get_origin(kind) is tuple:
            kind = Annotated[kind, Strict(False)]  # yaml writes a tuple as a list.
        is_required = parameter.default is parameter.empty
        fields[parameter.name] = Required[kind] if is_required else NotRequired[kind]
    arguments: Any = TypedDict("arguments", fields)  # type: ignore[misc]
    arguments.__pydantic_config__ = _CONFIG  # type: ignore[attr-defined]
    return TypeAdapter(arguments)


def _sentences(
    error: ValidationError,
    arguments: Mapping[str, Any],
    keys: Mapping[str, str],
    pending: Collection[str],
) -> list[str]:
    rules: dict[str, list[str]] = {}
    values: dict[str, Any] = {}
    for problem in error.errors(include_url=False):
        name, *places = problem["loc"]
        if name in pending:
            continue
        key, value = keys[str(name)], arguments.get(str(name))
        for place in places:  # Other parts of a location name the members of a union.
            if isinstance(value, dict) and place in value:
                key, value = join_key(key, place), value[place]
            elif isinstance(value, list) and isinstance(place, int) and place < len(value):
                key, value = f"{key}[{place}]", value[place]
        rule = problem["msg"].split(" should ", 1)[-1]
        if problem["type"] == "missing":
            rule = "have more items" if places else "be set"
        rules.setdefault(key, []).append(rule)
        values[key] = value
    # A list that fits but for an item is not refused as a whole.
    inner = [key for key in rules if not any(other.startswith(f"{key}[") for other in rules)]
    return [_sentence(key, values[key], rules[key]) for key in inner]


def _sentence(key: str, value: Any, rules: list[str]) -> str:
    if rules == ["be set"]:
        return f"{key} must be set."
    rule = " or ".join(rule.removeprefix("be ") for rule in rules)
    rule = re.sub(r"\ba valid (?=[aeiou])", "an ", rule).replace("valid ", "")
    sentence = f"{key} ({yaml_text(value)}) must {'be ' * rules[0].startswith('be ')}{rule}."
    advice = None
    if isinstance(value, float) and value.is_integer() and "integer" in rule:
        advice = f"Write {int(value)}."
    elif isinstance(value, str):
        is_quoted = re.fullmatch(r"[-+.\de]*\d|true|false|null", value.lower()) and "'" not in rule
        options = re.findall(r"'([^']+)'", rule)
        advice = "Remove the quotes." if is_quoted else did_you_mean(value, options)
    return f"{sentence} {advice}" if advice else sentence
