from collections.abc import Sequence

import hydra
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.overrides import expanded_jobs, name_and_value, split_overrides


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
    ],
)
def test_a_command_line_is_expanded_to_its_jobs(overrides: Sequence[str], jobs):
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        assert list(expanded_jobs(overrides, GlobalHydra.instance().config_loader())) == jobs


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


def test_overrides_that_were_joined_are_told_apart():
    given = handed_on(TYPED)
    assert split_overrides(" ".join(given)) == given
    assert split_overrides("") == []
