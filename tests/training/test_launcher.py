"""Who has launched the processes of a run, whatever the variables of its surroundings."""

import pytest
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.training.launcher import Launcher, Processes, find_launcher, settle_rank

TORCHRUN = {
    "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
    "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "TORCHELASTIC_RUN_ID": "none",
}  # fmt: skip
OTHER_PROGRAM = {name: value for name, value in TORCHRUN.items() if "TORCHELASTIC" not in name}
SBATCH = {"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0",
          "SLURM_NTASKS": "2", "SLURM_NNODES": "1"}  # fmt: skip
SALLOC = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2"}
SRUN = {**SBATCH, "SLURM_PROCID": "1", "SLURM_LOCALID": "1", "SLURM_STEP_NUM_TASKS": "2"}
SRUN_OF_ONE = {**SBATCH, "SLURM_STEP_NUM_TASKS": "1"}


def processes(devices: int = 1, *, gpus: int = 0, num_nodes: int = 1) -> Processes:
    return Processes(gpus=gpus, devices=devices, num_nodes=num_nodes)


@pytest.fixture
def _lightning():
    rank = rank_zero_only.rank  # type: ignore[attr-defined]
    yield
    rank_zero_only.rank = rank  # type: ignore[attr-defined]


def test_a_node_has_a_process_per_gpu_or_as_many_as_devices_on_the_cpu():
    def num_of_node(gpus: int, devices: int | None) -> int:
        return Processes(gpus=gpus, devices=devices, num_nodes=1).num_of_node

    assert num_of_node(gpus=0, devices=None) == 1
    assert num_of_node(gpus=4, devices=None) == 4
    assert num_of_node(gpus=0, devices=2) == 2


@pytest.mark.parametrize(
    ("asked", "environment", "launcher", "rank"),
    [
        (processes(), {}, Launcher.RUN, 0),
        (processes(2), {}, Launcher.RUN, 0),
        (processes(2), TORCHRUN, Launcher.TORCHRUN, 1),
        (processes(2), OTHER_PROGRAM, Launcher.TORCHRUN, 1),
        (processes(2), SRUN, Launcher.SRUN, 1),
        (processes(1, num_nodes=2), SRUN, Launcher.SRUN, 1),
        (processes(2), {**SRUN, "LOCAL_RANK": "0"}, Launcher.SRUN, 1),
        # Variables that somebody else has set.
        (processes(2), {"LOCAL_RANK": "0"}, Launcher.RUN, 0),
        (processes(2), {"RANK": "1", "WORLD_SIZE": "2"}, Launcher.RUN, 0),
        (processes(2), SALLOC, Launcher.RUN, 0),
        (processes(2), SBATCH, Launcher.RUN, 0),
        (processes(2), SRUN_OF_ONE, Launcher.RUN, 0),
        (processes(2), {**SRUN, "SLURM_STEP_NUM_TASKS": ""}, Launcher.RUN, 0),
        (processes(), SRUN, Launcher.RUN, 0),  # Two runs of one process in one step.
        (processes(), SALLOC, Launcher.RUN, 0),
        (processes(), OTHER_PROGRAM, Launcher.RUN, 0),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("_lightning")
def test_variables_are_believed_as_a_whole_set_that_agrees_with_the_settings(
    asked, environment, launcher, rank
):
    variables = dict(environment)
    assert find_launcher(asked, variables) is launcher
    assert settle_rank(launcher, variables) == rank
    assert rank_zero_only.rank == rank  # type: ignore[attr-defined]
    if launcher is Launcher.RUN:
        assert "LOCAL_RANK" not in variables
        assert "RANK" not in variables
    assert find_launcher(asked, variables) is launcher


@pytest.mark.parametrize(
    ("asked", "environment", "sentence"),
    [
        (processes(3), TORCHRUN, r"^torchrun has started 2 processes, but this run asks for 3 \("),
        (processes(1), TORCHRUN, r"^torchrun has started 2 processes, but this run asks for 1 \("),
        (processes(2, num_nodes=2), SRUN, "^srun has started 2 processes, but this run asks for 4"),
        (processes(num_nodes=2), {}, r"^trainer\.num_nodes=2, but nothing has started a process"),
        (processes(num_nodes=2), SALLOC, r"^trainer\.num_nodes=2, but nothing has started"),
    ],
)
def test_a_launcher_that_disagrees_with_the_settings_is_reported(asked, environment, sentence):
    with pytest.raises(ValueError, match=sentence):
        find_launcher(asked, environment)
