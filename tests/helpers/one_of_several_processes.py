"""One of the processes of test_several_processes.py: python <this> <rank> <count> <folder>.

Trains on its part of each batch, with every weighting, and saves what came out.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy

from tests.helpers.joint_training import (
    BOTH,
    METHODS,
    SPEAKER,
    SPEECH,
    fit,
    joint_batch,
    noise_batch,
    small_multi_task,
)
from tests.helpers.small_networks import NO_REGULARISATION, save_architecture

NUM_STEPS, NUM_UTTERANCES = 3, 4
JOINT = "joint "
LABELS = [
    [SPEECH, SPEECH, SPEAKER, BOTH],  # the first of two processes has no speaker
    [SPEECH, SPEECH, SPEAKER, SPEAKER],  # each process has another task
    [SPEAKER, SPEAKER, SPEAKER, SPEAKER],
]
"""The labels of the utterances of each joint step."""


def trained_states(folder: Path, *, rank: int, num_processes: int) -> dict[str, object]:
    """By method, the state of a task after some steps, of which this process saw a part."""
    # The trunk thaws on the way; a branch that a task skips is an unused parameter to DDP.
    frozen = {"wav2vec_initially_frozen": True, "num_frozen_steps": 1}
    place = {"rank": rank, "num_processes": num_processes}
    states: dict[str, object] = {}
    for method in METHODS:
        states[str(method)] = trained_state(folder, **place, scale_method=method, **frozen)
        # Guided pooling counts events in the processes that have speakers.
        states[f"{JOINT}{method}"] = trained_state(
            folder,
            **place,
            scale_method=method,
            is_joint=True,
            enable_ctc_pool_speaker_embedding=True,
            **frozen,
        )
    return states


def trained_state(
    folder: Path,
    *,
    rank: int,
    num_processes: int,
    scale_method: str | None,
    is_joint: bool = False,
    **changes: object,
) -> dict[str, torch.Tensor]:
    """The state of one task after that; `changes` are settings of the network."""
    architecture = save_architecture(str(folder / str(rank)), "large", num_hidden_layers=2)
    size = NUM_UTTERANCES // num_processes
    starts = [NUM_UTTERANCES * step + rank * size for step in range(NUM_STEPS)]
    own = slice(rank * size, (rank + 1) * size)
    task = small_multi_task(
        architecture,
        scale_method=scale_method,
        comparison_interval=2,
        use_multi_branch_encoder=True,
        num_shared_transformers=1,
        **changes,
    )
    settings: dict[str, object] = {}
    if num_processes > 1:
        strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
        settings = {"strategy": strategy, "devices": num_processes}
    torch.manual_seed(rank)  # so that processes drop different layers, where they drop any
    fit(
        task,
        [
            joint_batch(labels[own], first=start)
            if is_joint
            else noise_batch(range(start, start + size))
            for start, labels in zip(starts, LABELS, strict=True)
        ],
        folder=folder,
        **settings,
    )
    return task.state_dict()


def main() -> None:
    rank, num_processes, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting_point'}",
        rank=rank,
        world_size=num_processes,
    )
    states = trained_states(folder, rank=rank, num_processes=num_processes)
    states["dropping layers"] = trained_state(
        folder,
        rank=rank,
        num_processes=num_processes,
        scale_method="pcgrad",
        regularisation=replace(NO_REGULARISATION, layerdrop=0.5),
    )
    torch.save(states, folder / f"states_of_{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
