"""The states of all random number generators, kept in checkpoints so that a run goes on exactly."""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from w2v2_mt.core.processes import gathered_from_processes


class RandomStates(pl.Callback):
    """Saves the generators of each process and gives them back before the next step.

    Another number of processes than the one that saved begins with the states of the seed.
    """

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Every process calls it, as all of them save together."""
        return {"states": gathered_from_processes(random_states())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.states = state_dict["states"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        states, self.states = self.states, None
        if states is not None and len(states) == trainer.world_size:
            set_random_states(states[trainer.global_rank])


def random_states() -> dict[str, Any]:
    """Those of this process, of types that a checkpoint may hold, which numpy arrays are not."""
    numpy_state: Any = np.random.get_state(legacy=False)
    generator = numpy_state["state"]
    keys = torch.from_numpy(generator["key"].astype(np.int64))
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
        "python": random.getstate(),
        "numpy": {**numpy_state, "state": {**generator, "key": keys}},
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Give back what `random_states` returned."""
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])
    random.setstate(states["python"])
    generator = states["numpy"]["state"]
    keys = generator["key"].numpy().astype(np.uint32)
    np.random.set_state({**states["numpy"], "state": {**generator, "key": keys}})
