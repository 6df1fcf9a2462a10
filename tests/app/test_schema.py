import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Literal

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from w2v2_mt.app.schema import ROOTS, ConfigError, check_config
from w2v2_mt.app.value_types import Node
from w2v2_mt.core.constraints import NonNegativeInt

CONFIG_FOLDER = Path(__file__).parents[2] / "config"

CODE = """
from typing import Any, Literal

class Pooling:
    def __init__(self, *, kind: Literal["mean", "max"], dim: int): ...

class Network:
    def __init__(self, *, pooling: Pooling, scale: float | Pooling, sizes: list[int],
                 betas: tuple[float, float], names: dict[str, str] | None, extra: Any): ...

def anything(**settings): ...

class Nothing: ...
"""


class PartsConfig:
    network: Node
    extra: Node | None


class ToyConfig:
    seed: NonNegativeInt
    mode: Literal["train", "test"]
    tag: str | list[str] | None
    parts: PartsConfig
    callbacks: dict[str, Node | None] | None


CONFIG = {
    "seed": 1,
    "mode": "train",
    "tag": None,
    "parts": {
        "network": {
            "_target_": "schema_toy.Network",
            "pooling": {"_target_": "schema_toy.Pooling", "kind": "mean", "dim": 3},
            "scale": 2,
            "sizes": [1, 2],
            "betas": [0.9, 1],
            "names": {"o": "test"},
            "extra": {"any": [{"_target_": "schema_toy.Nothing"}, 3]},
        },
        "extra": None,
    },
    "callbacks": {"best": {"_target_": "schema_toy.anything", "x": 1}, "last": None},
}


@pytest.fixture
def problems_with(tmp_path, monkeypatch):
    """What is wrong with the config above after some of its keys are set."""
    (tmp_path / "schema_toy.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)

    def problems(changes):
        config = copy.deepcopy(CONFIG)
        for key, value in changes.items():
            *path, name = key.split(".")
            block = config
            for step in path:
                block = block[int(step)] if isinstance(block, list) else block[step]
            block[name] = value
        try:
            check_config(config, ToyConfig)
        except ConfigError as error:
            return str(error).splitlines()
        return []

    return problems


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"tag": "a"},
        {"tag": ["a", "b"]},
        {"tag": []},
        {"callbacks": None},
        {"callbacks": {}},
        {"parts.network.scale": {"_target_": "schema_toy.Pooling", "kind": "max", "dim": 1}},
        {"parts.network.names": None},
        {"parts.network.pooling": "what a class may be given is not known"},
    ],
)
def test_a_good_config_passes(problems_with, changes):
    assert problems_with(changes) == []


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("seed", -1, "seed is -1; set it to an integer that is at least 0."),
        ("seed", True, "seed is true; set it to an integer that is at least 0."),
        ("seed", None, "seed is null; set it to an integer that is at least 0."),
        ("seed", 1e5, "seed is 100000.0; set it to an integer that is at least 0; write 100000."),
        ("mode", "trian", "mode is 'trian'; set it to 'train' or 'test'; did you mean 'train'?"),
        ("mode", "fit", "mode is 'fit'; set it to 'train' or 'test'."),
        ("tag", ["a", 1], "tag[1] is 1; set it to a string; write '1'."),
        (
            "tag",
            {"a": "b"},
            "tag is a block without _target_; "
            "set it to a string, a list (each item a string) or null.",
        ),
        ("sead", 1, "sead is no setting of a run; did you mean 'seed'?"),
        (
            "zzz",
            1,
            "zzz is no setting of a run; "
            "remove it or use one of seed, mode, tag, parts, callbacks.",
        ),
        ("parts", None, "parts is null; set it to a block with network, extra."),
        ("parts.netwrok", 1, "parts.netwrok is no setting of parts; did you mean 'network'?"),
        (
            "parts.network",
            {"pooling": 1},
            "parts.network is a block without _target_; set it to a block with _target_.",
        ),
        (
            "parts.network._target_",
            "schema_toy.Netwrk",
            "parts.network._target_ is 'schema_toy.Netwrk', but schema_toy has no 'Netwrk'; "
            "did you mean 'Network'?",
        ),
        (
            "parts.network._target_",
            3,
            "parts.network._target_ is 3; set it to the dotted name of a class or function.",
        ),
        (
            "parts.network.poling",
            1,
            "parts.network.poling is no setting of schema_toy.Network; did you mean 'pooling'?",
        ),
        (
            "parts.network.pooling.kind",
            "maxx",
            "parts.network.pooling.kind is 'maxx'; set it to 'mean' or 'max'; did you mean 'max'?",
        ),
        (
            "parts.network.pooling.dim",
            "3",
            "parts.network.pooling.dim is '3'; set it to an integer; write 3 without quotes.",
        ),
        (
            "parts.network.scale",
            "big",
            "parts.network.scale is 'big'; set it to a number or a block with _target_.",
        ),
        (
            "parts.network.scale",
            float("nan"),
            "parts.network.scale is nan; set it to a number or a block with _target_.",
        ),
        (
            "parts.network.sizes",
            3,
            "parts.network.sizes is 3; set it to a list (each item an integer).",
        ),
        (
            "parts.network.betas",
            [1],
            "parts.network.betas is a list of 1 items; set it to a list of 2 items.",
        ),
        ("parts.network.names.o", 1, "parts.network.names.o is 1; set it to a string; write '1'."),
        (
            "parts.network.names",
            {1: "a"},
            "the key 1 of parts.network.names is 1; set it to a string; write '1'.",
        ),
        (
            "parts.network.extra.any.0.size",
            1,
            "parts.network.extra.any[0].size is no setting of schema_toy.Nothing; remove it.",
        ),
        (
            "callbacks.best.inner",
            {"_target_": "schema_toy.Pooling", "kind": "mean", "dim": 1.5},
            "callbacks.best.inner.dim is 1.5; set it to an integer.",
        ),
        (
            "parts.network.pooling",
            {"_target_": "schema_toy.Pooling", "kind": "mean"},
            "parts.network.pooling.dim is missing; set it to an integer.",
        ),
        (
            "callbacks.last",
            3,
            "callbacks.last is 3; set it to a block with _target_ or null.",
        ),
    ],
)
def test_a_wrong_setting_is_answered_with_one_sentence(problems_with, key, value, sentence):
    assert problems_with({key: value}) == [sentence]


def test_all_problems_are_told_at_once(problems_with):
    changes = {"seed": "x", "parts.network.pooling.dim": None, "callbacks.best._target_": "a.b"}
    assert problems_with(changes) == [
        "seed is 'x'; set it to an integer that is at least 0.",
        "parts.network.pooling.dim is null; set it to an integer.",
        "callbacks.best._target_ is 'a.b', but there is no package 'a'; "
        "install it or correct the name.",
    ]


def test_missing_keys_are_told():
    with pytest.raises(ConfigError) as error:
        check_config(
            {"mode": "test", "tag": None, "parts": {"extra": None}, "callbacks": {}}, ToyConfig
        )
    assert str(error.value).splitlines() == [
        "parts.network is missing; set it to a block with _target_.",
        "seed is missing; set it to an integer that is at least 0.",
    ]


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        (
            "train_speech",
            "~trainer.max_steps",
            "trainer.max_steps is missing; set it to an integer",
        ),
        ("train_speaker", "~data.test_sets", "data.test_sets is missing; set it to a block"),
        ("train_mt_speaker_speech", "~data.speech", "data.speech is missing; set it to anything"),
        ("train_speech", "+network.num_letters=5", "network.num_letters is no setting of w2v2_mt"),
        ("train_mt_speaker_speech", "+data.speech.seed=1", "data.speech.seed is no setting of"),
        ("train_speech", "+trainer.folder=x", "trainer.folder is no setting of"),
    ],
)
def test_what_a_setting_must_hold_cannot_be_left_out_and_what_code_adds_not_be_set(
    name, override, sentence
):
    with pytest.raises(ConfigError, match=sentence) as error:
        check_config(composed(name, [override]), ROOTS[name])
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("name", "override", "sentence"),
    [
        ("train_speech", "seed=4294967296", "seed is 4294967296; .* at most 4294967295"),
        ("train_speech", "optim.algo.betas=[0.9,1]", r"betas\[1\] is 1; .* at least 0 and below 1"),
        ("train_speaker", "optim.loss.margin=1.58", "margin is 1.58; .* at most 1.570796327"),
        ("train_mt_speaker_speech", "optim.loss.dwa_window=1", "dwa_window is 1; .* at least 2"),
    ],
)
def test_an_impossible_value_is_known_by_its_annotation(name, override, sentence):
    with pytest.raises(ConfigError, match=sentence):
        check_config(composed(name, [override]), ROOTS[name])


def composed(name, overrides=()):
    overrides = ["experiment_name=name", *overrides]
    environment = {"DATA_FOLDER": "d", "TEMP_FOLDER": "t", "LOG_FOLDER": "l", "NUM_GPUS": "0"}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for key, value in {**environment, "USE_WANDB": "false"}.items():
            monkeypatch.setenv(key, value)
        with initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
            return OmegaConf.to_container(compose(name, overrides=overrides), resolve=True)


@pytest.mark.parametrize("name", sorted(ROOTS))
def test_the_defaults_of_each_entry_point_pass(name):
    check_config(composed(name), ROOTS[name])


def test_a_misspelt_block_of_an_experiment_is_found():
    with pytest.raises(ConfigError, match="optiom is no setting of a run; did you mean 'optim'?"):
        check_config(composed("train_speech", ["+optiom.algo.lr=1e-3"]), ROOTS["train_speech"])


def test_a_config_is_checked_without_importing_what_it_names():
    config = composed("train_mt_speaker_speech")
    stopping = {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitor": "val_eer"}
    config["callbacks"]["early_stopping"] = stopping
    code = (
        "import json, sys\n"
        "from w2v2_mt.app.schema import ROOTS, check_config\n"
        "check_config(json.load(sys.stdin), ROOTS['train_mt_speaker_speech'])\n"
        "print({'torch', 'transformers', 'pytorch_lightning', 'hydra'} & set(sys.modules))\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], input=json.dumps(config), capture_output=True, text=True
    )
    assert (finished.stdout, finished.stderr) == ("set()\n", "")
