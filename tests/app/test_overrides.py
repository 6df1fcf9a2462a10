from collections.abc import Sequence

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.overrides import expanded_jobs


@pytest.mark.parametrize(
    ("overrides", "jobs"),
    [
        ([], [[]]),
        (["a=1", "+b=[x,y]", "hydra/launcher=slurm"], [["a=1", "+b=[x,y]"]]),
        (["a=1,2", "b=3,4"], [["a=1", "b=3"], ["a=1", "b=4"], ["a=2", "b=3"], ["a=2", "b=4"]]),
        (["a=range(1,4)"], [["a=1"], ["a=2"], ["a=3"]]),
        (["~a"], [["~a"]]),
        (["optim/algo=glob(*)"], [["optim/algo=adam"], ["optim/algo=sgd"]]),
        (["callbacks=glob(mt_*,exclude=*stopping)"], [["callbacks=mt_default"]]),
    ],
)
def test_a_command_line_is_expanded_to_its_jobs(overrides: Sequence[str], jobs):
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        assert list(expanded_jobs(overrides, GlobalHydra.instance().config_loader())) == jobs
