"""Two processes with half of each batch do what one does with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.helpers import one_of_several_processes
from tests.helpers.joint_training import METHODS
from tests.helpers.one_of_several_processes import JOINT, trained_states

ROOT = Path(__file__).parents[2]

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:.*{message}")
    for message in ("have no `val_dataloader`", "training batches", "in eval mode at the start")
]


@pytest.fixture(scope="module")
def states_of_two(tmp_path_factory):
    """What each of two processes saved."""
    folder = tmp_path_factory.mktemp("two")
    path = os.pathsep.join(str(ROOT / part) for part in (".", "tests", "tests/models"))
    processes = [
        subprocess.Popen(
            [sys.executable, one_of_several_processes.__file__, str(rank), "2", str(folder)],
            env={
                **os.environ,
                "PYTHONPATH": path,
                "OMP_NUM_THREADS": "1",
                # By these, Lightning knows that it need not start the other one.
                "TORCHELASTIC_RUN_ID": "test",
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": "0",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": "2",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=600)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(outputs)
    return [torch.load(folder / f"states_of_{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def states_of_one(tmp_path_factory):
    return trained_states(tmp_path_factory.mktemp("one"), rank=0, num_processes=1)


@pytest.mark.parametrize("scale_method", [str(method) for method in METHODS])
def test_two_processes_train_as_one_does(states_of_one, states_of_two, scale_method):
    one, (two, other) = states_of_one[scale_method], (each[scale_method] for each in states_of_two)
    torch.testing.assert_close(two, one, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(two, other)


@pytest.mark.parametrize("method", METHODS)
def test_joint_batches_of_processes_may_lack_different_tasks(states_of_one, states_of_two, method):
    name = f"{JOINT}{method}"
    one, (two, other) = states_of_one[name], (each[name] for each in states_of_two)
    torch.testing.assert_close(two, one, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(two, other)


def test_processes_that_drop_different_layers_stay_alike(states_of_two):
    two, other = (each["dropping layers"] for each in states_of_two)
    torch.testing.assert_close(two, other)
    assert all(each.isfinite().all() for each in two.values())
