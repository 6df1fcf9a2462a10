"""Decide who launches the processes of a run: the run itself, torchrun or srun.

Variables of torchrun and SLURM may also come from a shell, a notebook or an allocation that has
nothing to do with the run. They are believed only as a whole set that agrees with the settings.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

Launcher = Enum("Launcher", ["RUN", "TORCHRUN", "SRUN"])
"""The launcher of the processes: the run itself, torchrun or another program like it, or srun."""

_WHOLE_SETS = {
    Launcher.TORCHRUN: ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    Launcher.SRUN: ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_STEP_NUM_TASKS"),
}
_COUNTS = {Launcher.TORCHRUN: "WORLD_SIZE", Launcher.SRUN: "SLURM_STEP_NUM_TASKS"}
_RANKS = {Launcher.TORCHRUN: "RANK", Launcher.SRUN: "SLURM_PROCID"}
_RUN_ID = "TORCHELASTIC_RUN_ID"
_RANK_VARIABLES = (
    *("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK"),
    *("GROUP_WORLD_SIZE", "ROLE_RANK", "ROLE_WORLD_SIZE", _RUN_ID),
)
"""Variables with which Lightning takes a process for one that torchrun has started."""


@dataclass(frozen=True, kw_only=True)
class Processes:
    """The processes of a run: one per GPU, or `devices` (None: one) on the CPU, of each node."""

    gpus: int
    devices: int | None
    num_nodes: int

    @property
    def num_of_node(self) -> int:
        """The number of processes of each node."""
        return self.devices or max(1, self.gpus)

    @property
    def num_in_all(self) -> int:
        """The number of processes on all nodes."""
        return self.num_of_node * self.num_nodes

    def __str__(self) -> str:
        kind = f"gpus={self.gpus}" if self.gpus else f"trainer.devices={self.num_of_node}"
        return f"{kind} trainer.num_nodes={self.num_nodes}"


def count_processes(config: Mapping[str, Any]) -> Processes:
    """Return the processes of a run with these settings."""
    trainer = config["trainer"]
    return Processes(
        gpus=trainer["gpus"], devices=trainer["devices"], num_nodes=trainer["num_nodes"]
    )


def find_launcher(processes: Processes, environment: Mapping[str, str]) -> Launcher:
    """Find out who has launched this process, or is to launch the processes of the run.

    Raises:
        ValueError: A launcher has started another number of processes than the settings ask for,
            or nothing has started processes on the other nodes.
    """
    for launcher, names in _WHOLE_SETS.items():
        number = environment.get(_COUNTS[launcher], "")
        if not number.isdecimal() or not all(environment.get(name) for name in names):
            continue
        # Several runs of one process in one step of srun are independent of each other; torchrun
        # starts the same run several times.
        is_meant = processes.num_in_all > 1 or _RUN_ID in environment
        if int(number) == processes.num_in_all > 1:
            return launcher
        if int(number) > 1 and is_meant:
            raise ValueError(
                f"{launcher.name.lower()} has started {number} processes, but this run asks for "
                f"{processes.num_in_all} ({processes}). Let both numbers agree, or start the run "
                "without it."
            )
    if processes.num_nodes > 1:
        raise ValueError(
            f"trainer.num_nodes={processes.num_nodes}, but nothing has started a process on each "
            "node. Submit the run with -m hydra/launcher=slurm, start it with srun or torchrun, or "
            "set trainer.num_nodes=1."
        )
    return Launcher.RUN


def settle_rank(launcher: Launcher, environment: MutableMapping[str, str]) -> int:
    """Return the rank of this process, and remove variables that claim another one."""
    if launcher is not Launcher.TORCHRUN:
        for name in _RANK_VARIABLES:
            environment.pop(name, None)
    rank = int(environment[_RANKS[launcher]]) if launcher in _RANKS else 0
    set_rank(rank)
    return rank


def set_rank(rank: int) -> None:
    """Set the rank of this process in Lightning, which has perhaps read another one before."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    rank_zero_only.rank = rank  # type: ignore[attr-defined]
