import inspect
import re
import sys
from pathlib import Path
from types import NoneType
from typing import Annotated, Literal

import pytest
from hydra.utils import get_object

from w2v2_mt.app.signatures import read_signature
from w2v2_mt.app.sources import TargetError
from w2v2_mt.core.constraints import Interval, NonNegativeInt, PositiveInt, Probability

ALIASES = """
from typing import Literal, TypeAlias
from w2v2_mt.core.constraints import Probability
PoolingName = Literal["mean", "max"]
Share: TypeAlias = Probability
Tree = dict[str, "Tree"]
"""

CODE = """
import typing as t
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Generic, List, Literal, Optional, TypeVar, Union
from typing import overload

from w2v2_mt.core import constraints
from w2v2_mt.core.constraints import Interval, NonNegativeInt

from .aliases import PoolingName, Share, Tree

Item = TypeVar("Item")
Count = NonNegativeInt
Length = Union[Count, None]


class Colour(Enum):
    RED = "red"


class Tokenizer: ...


def function({annotated}): ...


class Base:
    @overload
    def __init__(self, size: str): ...
    def __init__(self, size: int, *, rate: float = 1.0):
        pass


class Heir(Generic[Item], Base):
    kind = "heir"


Renamed = Heir


class Empty: ...


class Open:
    def __init__(self, first: int, /, second: str, *rest: int, third: bool = True, **others: str):
        pass


@dataclass
class Point:
    unit: ClassVar[str] = "m"
    x: float
    _: KW_ONLY
    y: float = 0.0
    path: list[str] = field(default_factory=list)
    tag: str = field(repr=False)
    norm: float = field(init=False, default=0.0)


@dataclass(frozen=True)
class Voxel(Point):
    z: int = 0


number = 3
"""

TYPES = [
    ("int", int),
    ("float", float),
    ("bool", bool),
    ("str", str),
    ("None", NoneType),
    ("int | None", int | None),
    ("Optional[int]", int | None),
    ("Union[int, str, None]", int | str | None),
    ("t.Union[int, str]", int | str),
    ("Literal['a', 2, True, None]", Literal["a", 2, True, None]),
    ("Literal['a'] | None", Literal["a"] | None),
    ("Literal[Colour.RED]", object),
    ("list", list),
    ("list[int | str]", list[int | str]),
    ("List[str]", list[str]),
    ("Sequence[float]", list[float]),
    ("Iterable[Tokenizer]", list[object]),
    ("tuple[int, float]", tuple[int, float]),
    ("tuple[int, ...]", tuple[int, ...]),
    ("dict[str, list[int]]", dict[str, list[int]]),
    ("Mapping[str, bool]", dict[str, bool]),
    ("NonNegativeInt", NonNegativeInt),
    ("constraints.PositiveInt", PositiveInt),
    (
        "Annotated[float, Interval(above=-1, at_most=1)]",
        Annotated[float, Interval(above=-1, at_most=1)],
    ),
    ("Annotated[int, 'a remark']", int),
    ("PoolingName", Literal["mean", "max"]),
    ("Share", Probability),
    ("Length", NonNegativeInt | None),
    ("Tree", dict[str, object]),
    ("'int | None'", int | None),
    ("Any", object),
    ("Path", object),
    ("Item", object),
    ("Tokenizer | None", object | None),
    ("Tokenizer | float", object | float),
    ("undefined.Thing", object),
    ("type[Tokenizer]", object),
]


TARGETS = sorted(
    {
        target
        for path in (Path(__file__).parents[2] / "config").rglob("*.yaml")
        for target in re.findall(r"^ *_target_: *(\S+)$", path.read_text(), flags=re.MULTILINE)
    }
)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    annotated = ", ".join(f"p{i}: {annotation}" for i, (annotation, _) in enumerate(TYPES))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "__init__.py").write_text("from .code import Base as Basis\n")
    (tmp_path / "toy" / "aliases.py").write_text(ALIASES)
    (tmp_path / "toy" / "code.py").write_text(CODE.format(annotated=annotated))
    monkeypatch.syspath_prepend(tmp_path)
    return "toy.code"


def annotations(target):
    return {name: p.annotation for name, p in read_signature(target).parameters.items()}


def required_names(target):
    return {name for name, p in read_signature(target).parameters.items() if p.is_required}


def test_annotations_are_read_without_an_import(toy):
    read = annotations(f"{toy}.function")
    assert list(zip([annotation for annotation, _ in TYPES], read.values(), strict=True)) == TYPES
    assert "toy" not in sys.modules


def test_a_class_has_the_parameters_of_its_constructor(toy):
    assert annotations(f"{toy}.Base") == {"size": int, "rate": float}
    assert required_names(f"{toy}.Base") == {"size"}


@pytest.mark.parametrize("target", ["toy.code.Heir", "toy.code.Renamed", "toy.Basis"])
def test_heirs_other_names_and_re_exports_lead_to_the_same_constructor(toy, target):
    assert read_signature(target) == read_signature(f"{toy}.Base")


def test_a_class_without_a_constructor_takes_nothing(toy):
    assert read_signature(f"{toy}.Empty").parameters == {}


def test_what_cannot_be_passed_by_name_is_left_out(toy):
    signature = read_signature(f"{toy}.Open")
    assert annotations(f"{toy}.Open") == {"second": str, "third": bool}
    assert required_names(f"{toy}.Open") == {"second"}
    assert signature.accepts_any_name
    assert not read_signature(f"{toy}.Base").accepts_any_name


def test_the_fields_of_a_dataclass_are_its_parameters(toy):
    assert annotations(f"{toy}.Point") == {"x": float, "y": float, "path": list[str], "tag": str}
    assert required_names(f"{toy}.Point") == {"x", "tag"}


def test_a_dataclass_adds_its_fields_to_those_of_its_base(toy):
    assert list(annotations(f"{toy}.Voxel")) == ["x", "y", "path", "tag", "z"]


@pytest.mark.parametrize("name", ["number", "PoolingName"])
def test_a_target_must_be_a_class_or_a_function(toy, name):
    with pytest.raises(TargetError, match=r"is neither a class nor a function of a package"):
        read_signature(f"{toy}.{name}")


@pytest.mark.parametrize("target", [*TARGETS, "torch.optim.SGD", "torch.nn.CTCLoss"])
def test_python_sees_the_same_parameters(target):
    read = read_signature(target)
    seen = inspect.signature(get_object(target)).parameters
    # A module without a constructor has the catch-all one of nn.Module, which refuses everything.
    assert list(read.parameters) == [
        name for name, p in seen.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    for name, parameter in read.parameters.items():
        assert parameter.is_required == (seen[name].default is inspect.Parameter.empty)
        if target.startswith("w2v2_mt.") and "object" not in str(parameter.annotation):
            assert parameter.annotation == seen[name].annotation


def test_the_configs_name_targets():
    assert len(TARGETS) > 10
