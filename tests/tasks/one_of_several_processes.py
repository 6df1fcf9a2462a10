"""One of the processes of test_several_processes.py: python <this> <rank> <count> <folder>.

Trains on its part of each batch, with every weighting, and process 0 saves what came out.
"""

import sys
from pathlib import Path

import torch
from pytorch_lightning.strategies import DDPStrategy
from small_networks import save_architecture

from tests.tasks.joint_training import METHODS, fit, noise_batch, small_multi_task

NUM_STEPS, NUM_UTTERANCES = 3, 4


def trained_states(folder: Path, *, rank: int, num_processes: int) -> dict[str, object]:
    """By method, the state of a task after some steps, of which this process saw a part."""
    architecture = save_architecture(str(folder), "large", num_hidden_layers=2)
    size = NUM_UTTERANCES // num_processes
    starts = [NUM_UTTERANCES * step + rank * size for step in range(NUM_STEPS)]
    batches = [noise_batch(range(start, start + size)) for start in starts]
    states = {}
    for method in METHODS:
        # The trunk thaws on the way; a branch that a task skips is an unused parameter to DDP.
        task = small_multi_task(
            architecture,
            scale_method=method,
            comparison_interval=2,
            use_multi_branch_encoder=True,
            num_shared_transformers=1,
            wav2vec_initially_frozen=True,
            num_frozen_steps=1,
        )
        settings = {}
        if num_processes > 1:
            strategy = DDPStrategy(process_group_backend="gloo", find_unused_parameters=True)
            settings = {"strategy": strategy, "devices": num_processes}
        fit(task, batches, folder=folder, **settings)
        states[str(method)] = task.state_dict()
    return states


def main() -> None:
    rank, num_processes, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder / 'meeting_point'}",
        rank=rank,
        world_size=num_processes,
    )
    states = trained_states(folder, rank=rank, num_processes=num_processes)
    if rank == 0:
        torch.save(states, folder / "states.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
