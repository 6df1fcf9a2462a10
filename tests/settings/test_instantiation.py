import copy

import pytest

from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.core.registry import EVERYTHING, trusting
from w2v2_mt.decoding.tokenizer import Tokenizer
from w2v2_mt.optim.optimizers import Adam
from w2v2_mt.optim.schedules import Constant, Schedule
from w2v2_mt.settings.instantiation import find_target, instantiate

TRI_STAGE = {
    "_target_": "w2v2_mt.optim.schedules.TriStage",
    "initial_lr": 0.1,
    "final_lr": 0.1,
    "warmup_fraction": 0.1,
    "constant_fraction": 0.4,
}
ADAM = {
    "_target_": "w2v2_mt.optim.optimizers.Adam",
    "lr": 1e-4,
    "betas": [0.9, 0.999],
    "eps": 1e-8,
    "weight_decay": 0.0,
}

OUTSIDE = """
from dataclasses import dataclass
from w2v2_mt.optim.schedules import Schedule, StepSchedule

@dataclass(frozen=True, kw_only=True)
class Pair:
    first: Schedule
    second: Schedule | None

@dataclass(frozen=True, kw_only=True)
class Half(StepSchedule):
    share: float

    def factor(self, step, *, num_steps, peak_lr):
        return self.share

def function():
    raise AssertionError("called")
"""


@pytest.fixture
def my_lab(tmp_path, monkeypatch):
    (tmp_path / "my_lab.py").write_text(OUTSIDE)
    monkeypatch.syspath_prepend(tmp_path)
    with trusting("my_lab"):
        yield


def test_nodes_become_objects_and_the_settings_stay_as_they_are():
    settings = {"algo": copy.deepcopy(ADAM), "none": None, "list": [{"_target_": CONSTANT}, 3]}
    before = copy.deepcopy(settings)
    built = instantiate(settings)
    assert built["algo"] == Adam(lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    assert built["list"] == [Constant(), 3]
    assert settings == before


CONSTANT = "w2v2_mt.optim.schedules.Constant"


def test_references_to_a_setting_share_one_object(my_lab):
    pair = {"_target_": "my_lab.Pair", "first": "${optim.schedule}", "second": "${optim.schedule}"}
    built = instantiate(pair, settings={"optim": {"schedule": {"_target_": CONSTANT}}})
    assert built.first is built.second


def test_an_object_that_exists_takes_the_place_of_its_setting(my_lab):
    pair = {"_target_": "my_lab.Pair", "first": "${a}", "second": None}
    known = Constant()
    assert instantiate(pair, settings={"a": TRI_STAGE}, objects={"a": known}).first is known


def test_every_problem_is_reported_once_with_its_full_key(my_lab):
    pair = {"_target_": "my_lab.Pair", "first": "${optim.schedule}", "second": "${gone}"}
    wrong = {**TRI_STAGE, "warmup_fraction": 2, "final_lr": "x"}
    with pytest.raises(ConfigError) as error:
        instantiate(
            {"a": pair, "b": {**ADAM, "lr": 0}, "c": {"_target_": "w2v2_mt.optim.schedules.Trie"}},
            settings={"optim": {"schedule": wrong}},
        )
    assert str(error.value).splitlines() == [
        "optim.schedule.final_lr (x) must be a number.",
        "optim.schedule.warmup_fraction (2) must be less than or equal to 1.",
        "gone must be set.",
        "b.lr (0) must be greater than 0.",
        "c._target_ (w2v2_mt.optim.schedules.Trie): w2v2_mt.optim.schedules does not have it. Did "
        "you mean 'TriStage'?",
    ]


def test_a_rule_of_a_constructor_is_reported_with_the_key_of_its_node():
    with pytest.raises(ConfigError) as error:
        instantiate({**TRI_STAGE, "warmup_fraction": 0.7}, key="optim.schedule")
    assert str(error.value) == (
        "optim.schedule: warmup_fraction (0.7) plus constant_fraction (0.4) must be at most 1. "
        "Lower one of them."
    )


@pytest.mark.parametrize(
    "path",
    [
        "os.system",
        "my_lab.Half",
        "w2v2_mt.training.process_launch.os.system",
        "w2v2_mt.optim.optimizers.torch.optim.Adam",
        "w2v2_mt.optim.schedules",
        "system",
        3,
    ],
)
def test_without_trust_only_classes_of_this_package_are_made(path):
    with pytest.raises(ValueError, match="must be|trust|cannot be imported|does not have"):
        find_target(path)


def test_a_class_of_another_kind_is_refused_before_it_is_made():
    assert instantiate({"_target_": CONSTANT}, Schedule) == Constant()
    with pytest.raises(ConfigError, match=r"^_target_ \(.*Constant\): it must be a Tokenizer"):
        instantiate({"_target_": CONSTANT}, Tokenizer)


def test_a_trusted_class_from_outside_is_checked_like_any_other(my_lab):
    half = {"_target_": "my_lab.Half", "share": 0.5}
    assert instantiate(half).factor(0, num_steps=1, peak_lr=1.0) == 0.5
    with pytest.raises(ConfigError, match=r"^share \(x\) must be a number\.$"):
        instantiate({**half, "share": "x"})
    with trusting(EVERYTHING), pytest.raises(ConfigError, match="must be a class"):
        instantiate({"_target_": "my_lab.function"})
