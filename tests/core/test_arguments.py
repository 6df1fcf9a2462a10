import pickle
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest

from w2v2_mt.core.arguments import ConfigError, check_arguments, yaml_text
from w2v2_mt.core.constraints import DecayRate, NonNegativeInt, PositiveFloat, Probability
from w2v2_mt.core.registry import Registry


class Pooling:
    pass


class Mean(Pooling):
    pass


METHODS: Registry[type] = Registry("method", setting="optim.method")


@METHODS.register("plain")
class Plain:
    pass


@METHODS.register("hot")
class Hot:
    def __init__(self, *, temperature: PositiveFloat):
        self.temperature = temperature


class Network:
    def __init__(
        self,
        *,
        pooling: Pooling,
        size: NonNegativeInt,
        scale: PositiveFloat | Pooling = 1.0,
        mode: Literal["mean", "max"] | None = None,
        betas: tuple[DecayRate, DecayRate] = (0.9, 0.99),
        names: dict[str, str] | None = None,
        tag: str | list[str] | None = None,
        is_deep: bool = False,
        extra: Any = None,
    ):
        pass


class Loss:
    def __init__(self, *, method: Annotated[str | None, METHODS], **parameters: object):
        pass


@dataclass(frozen=True, kw_only=True)
class Collecting:
    share: Probability
    options: dict[str, Any] = field(default_factory=dict)


GOOD = {"pooling": Mean(), "size": 3}


def problems(target, arguments, **keywords):
    with pytest.raises(ConfigError) as error:
        check_arguments(target, arguments, **keywords)
    assert str(error.value).splitlines() == error.value.problems
    return error.value.problems


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"scale": 2},
        {"scale": Mean()},
        {"mode": "max", "tag": "a"},
        {"mode": None, "tag": ["a", "b"]},
        {"betas": [0, 0.5]},
        {"names": {"o": "test"}, "extra": [{"any": 1}]},
    ],
)
def test_fitting_arguments_pass(changes):
    checked = check_arguments(Network, GOOD | changes)
    assert checked["pooling"] is GOOD["pooling"]
    assert {name: checked[name] for name in ("size", *changes)} == {"size": 3} | {
        name: tuple(value) if name == "betas" else value for name, value in changes.items()
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"size": -1}, "net.size (-1) must be greater than or equal to 0."),
        ({"size": True}, "net.size (true) must be an integer."),
        ({"size": None}, "net.size (null) must be an integer."),
        ({"size": 1e5}, "net.size (100000.0) must be an integer. Write 100000."),
        ({"size": 1.5}, "net.size (1.5) must be an integer."),
        ({"size": "3"}, "net.size (3) must be an integer. Remove the quotes."),
        ({"is_deep": 1}, "net.is_deep (1) must be a boolean."),
        ({"is_deep": "true"}, "net.is_deep (true) must be a boolean. Remove the quotes."),
        ({"mode": "maxx"}, "net.mode (maxx) must be 'mean' or 'max'. Did you mean 'max'?"),
        ({"mode": "sum"}, "net.mode (sum) must be 'mean' or 'max'."),
        ({"scale": "big"}, "net.scale (big) must be a number or an instance of Pooling."),
        ({"scale": float("nan")}, "net.scale (nan) must be a finite number or an instance of"),
        ({"pooling": Plain()}, "net.pooling (Plain) must be an instance of Pooling."),
        ({"betas": [0.9, 1]}, "net.betas[1] (1) must be less than 1."),
        ({"betas": [0.9]}, "net.betas ([0.9]) must have more items."),
        ({"names": {"o": 1}}, "net.names.o (1) must be a string."),
        ({"tag": ["a", 1]}, "net.tag[1] (1) must be a string."),
        ({"tag": 1}, "net.tag (1) must be a string or a list."),
        ({"poling": 1}, "net.poling is not a setting of net. Did you mean 'pooling'?"),
    ],
)
def test_a_wrong_argument_is_answered_with_one_sentence(changes, sentence):
    (problem,) = problems(Network, GOOD | changes, owner="net")
    assert problem.startswith(sentence)


def test_all_problems_are_reported_at_once_under_the_keys_where_they_are_set():
    wrong = {"size": "x", "mode": "mena", "zzz": 1, "betas": None}
    assert problems(
        Network, wrong, owner="net", keys={"size": "top.size"}, pending=["pooling", "betas"]
    ) == [
        "top.size (x) must be an integer.",
        "net.mode (mena) must be 'mean' or 'max'. Did you mean 'mean'?",
        "net.zzz is not a setting of net. Choose one of pooling, size, scale, mode, betas, names, "
        "tag, is_deep, extra.",
    ]
    assert problems(Network, {"size": 1}) == ["pooling must be set."]


def test_an_error_that_another_process_sends_keeps_its_sentences():
    error = ConfigError("a must be set.", "b must be 1.")
    received = pickle.loads(pickle.dumps(error))
    assert str(received) == str(error) == "a must be set.\nb must be 1."
    assert received.problems == error.problems


def test_parameters_of_registered_classes_are_settings():
    checked = check_arguments(Loss, {"method": "hot", "temperature": 2})
    assert checked == {"method": "hot", "temperature": 2}
    # The parameters of another choice may stay in the settings.
    check_arguments(Loss, {"method": "plain", "temperature": 2})
    assert problems(Loss, {"method": "hot", "temperature": 0}, owner="loss") == [
        "loss.temperature (0) must be greater than 0."
    ]
    assert problems(Loss, {"method": None, "temprature": 1}, owner="loss") == [
        "loss.temprature is not a setting of loss. Did you mean 'temperature'?"
    ]
    assert problems(Loss, {"method": "hott"}) == [
        "optim.method (hott) is not a registered method. Did you mean 'hot'?"
    ]


def test_a_parameter_called_options_collects_further_arguments():
    assert check_arguments(Collecting, {"share": 1, "top_k": 5}) == {
        "share": 1,
        "options": {"top_k": 5},
    }


@pytest.mark.parametrize(
    ("value", "text"), [(None, "null"), (True, "true"), ([1], "[1]"), (Mean(), "Mean"), ("a", "a")]
)
def test_values_are_shown_as_in_yaml(value, text):
    assert yaml_text(value) == text
