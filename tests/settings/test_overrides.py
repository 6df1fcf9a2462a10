from collections.abc import Sequence

import hydra
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from w2v2_mt.settings.command_line import CONFIG_FOLDER
from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.overrides import (
    expand_jobs,
    free_set_names,
    name_and_value,
    split_overrides,
)
from w2v2_mt.settings.validation import check_settings


@pytest.mark.parametrize(
    ("overrides", "jobs"),
    [
        ([], [[]]),
        (["a=1", "+b=[x,y]", "hydra/launcher=slurm"], [["a=1", "+b=[x,y]"]]),
        (["a=1,2", "b=3,4"], [["a=1", "b=3"], ["a=1", "b=4"], ["a=2", "b=3"], ["a=2", "b=4"]]),
        (["a=range(1,4)"], [["a=1"], ["a=2"], ["a=3"]]),
        (["a=1,2", "b=3", "a=4,5"], [["a=4", "b=3"], ["a=5", "b=3"]]),
        (["a=1", "a=2"], [["a=1", "a=2"]]),
        (["~a"], [["~a"]]),
        (["optim/algo=glob(*)"], [["optim/algo=adam"], ["optim/algo=sgd"]]),
        (["callbacks=glob(mt_*,exclude=*stopping)"], [["callbacks=mt_default"]]),
        (["a=tag(log,interval(0,1))", "b=1,2"], [["b=1"], ["b=2"]]),
        (
            ["hydra/sweeper=optuna", "a=range(100)", "b=range(99)", "c=5"],
            [[f"a={number}", f"b={number % 99}", "c=5"] for number in range(100)],
        ),
    ],
)
def test_a_command_line_is_expanded_to_its_jobs(overrides: Sequence[str], jobs):
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        assert list(expand_jobs(overrides, GlobalHydra.instance().config_loader())) == jobs


def handed_on(typed: Sequence[str]) -> list[str]:
    """What the sweep of Hydra makes of a command line without axes."""
    ((job,),) = BasicSweeper.split_arguments(OverridesParser.create().parse_overrides(typed), None)
    return job


TYPED = [
    "tag=[a b]",
    "+note={x: 1, y: [2, 'three four']}",
    "optim.algo.lr=1E-4",
    "trainer.max_steps=1_000",
    "name='it is \\'quoted\\''",
    'path="a b\\\\"',
    "text=a\\ b\\,c",
    "empty=",
    "++flag=TRUE",
    "~nothing",
    "data=mt_vox1_libri",
]


def test_what_was_typed_and_what_a_job_is_given_have_one_name_and_value():
    given = handed_on(TYPED)
    assert given != TYPED
    assert [*map(name_and_value, TYPED)] == [*map(name_and_value, given)]
    assert name_and_value("+tag=[a b]") == ("tag", r"[a\ b]")


@pytest.mark.parametrize("override", ["a=[", "a=1,2", "no name"])
def test_what_no_sweep_hands_on_stays_as_it_is(override):
    assert "=".join(name_and_value(override)).rstrip("=") == override


def test_overrides_that_were_joined_are_separated():
    given = handed_on(TYPED)
    assert split_overrides(" ".join(given)) == given
    assert split_overrides("") == []


def test_a_mapping_of_sets_replaces_the_default_one(tmp_path):
    (tmp_path / "corpus.yaml").write_text("speech:\n  test_sets: {clean: a, other: b}\n")
    arguments = [
        "data.test_sets={mine: ${data_folder}/x}",
        "data.speaker.test_trials={}",
        "data.val_sets={a: b},{c: d}",
        "data.val_sets.third=folder",
        "data.train_sets=[x]",
        "optim.algo={lr: 1}",
    ]
    assert free_set_names(arguments, [tmp_path]) == [
        "++data.test_sets={clean: null, other: null, mine: ${data_folder}/x}",
        "++data.speaker.test_trials={clean: null, other: null}",
        "++data.val_sets={clean: null, other: null, a: b},{clean: null, other: null, c: d}",
        "++data.val_sets.third=folder",
        "data.train_sets=[x]",
        "optim.algo={lr: 1}",
    ]


@pytest.mark.parametrize(
    ("arguments", "test_sets", "monitor"),
    [
        ([], {"clean": "test_clean", "other": "test_other"}, "val_wer_other"),
        (["data.test_sets={mine: x}", "data.val_sets={dev: y}"], {"mine": "x"}, "val_wer_dev"),
        (["data.test_sets={}", "data.val_sets.third=z"], {}, "val_wer_other"),
        (["data.val_sets={other: x, clean: y}"], None, "val_wer_other"),
        (["data.val_sets.other=null"], None, "val_wer_clean"),
    ],
)
def test_monitors_follow_the_names_of_the_sets(arguments, test_sets, monitor):
    overrides = free_set_names(arguments, [CONFIG_FOLDER])
    with hydra.initialize_config_dir(str(CONFIG_FOLDER), version_base="1.3"):
        config = hydra.compose("train_speech", [*overrides, "callbacks=speech_early_stopping"])
    settings = check_settings(config)
    assert test_sets is None or settings["data"]["test_sets"] == test_sets
    callbacks = settings["callbacks"]
    assert callbacks["best_checkpoint"]["monitor"] == monitor
    assert callbacks["early_stopping"]["monitors"] == [monitor]
    assert callbacks["early_stopping"]["losses"] == [monitor.replace("wer", "loss")]
