"""A command whose second process alone gets a NaN into its second batch.

What each process saw lies in `seen_<rank>.pt` in the folder of the run. Started with the name of
the config before the usual arguments.
"""

import sys
from pathlib import Path
from typing import Any

from w2v2_mt.app.main import launch

SPOILED_RANK, SPOILED_BATCH = 1, 1


def run_with_spoiling(**arguments: Any) -> float | None:
    """Imports what is heavy once processes have parted, as what it stands for does."""
    import pytorch_lightning as pl
    import torch

    from w2v2_mt.app.run import run
    from w2v2_mt.core.batches import WaveformBatch

    class Spoiling(pl.Callback):
        """Writes the keys of the batch and the weights before each step, and those at the end."""

        def __init__(self, folder: Path):
            self.folder = folder
            self.keys: dict[str, list[str]] = {}
            self.states: list[dict[str, torch.Tensor]] = []

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            self.keep(trainer, pl_module)
            if batch_idx != SPOILED_BATCH:
                return
            batches = {"batch": batch} if isinstance(batch, WaveformBatch) else batch
            self.keys = {name: list(each.keys) for name, each in batches.items()}
            self.write(trainer)
            if trainer.global_rank == SPOILED_RANK:
                for each in batches.values():
                    each.waveforms[0, 100] = torch.nan

        def on_train_end(self, trainer, pl_module) -> None:
            self.keep(trainer, pl_module)
            self.write(trainer)

        def keep(self, trainer, pl_module) -> None:
            state = {name: each.clone() for name, each in pl_module.state_dict().items()}
            self.states.append(state)

        def write(self, trainer) -> None:
            seen = {"keys": self.keys, "states": self.states}
            torch.save(seen, self.folder / f"seen_{trainer.global_rank}.pt")

    return run(**arguments, extra_callbacks=[Spoiling(arguments["folder"])])


if __name__ == "__main__":
    launch(sys.argv.pop(1), run=run_with_spoiling)
