"""Keep in checkpoints what a run is and its random states, so that it resumes exactly."""

import random
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from w2v2_mt.core.distributed import gather_from_processes
from w2v2_mt.training.checkpoints import RECORD_KEY


class RunRecord(pl.Callback):
    """A callback that adds to each checkpoint what is needed to use it: settings and metrics.

    A resumed run starts with the metrics of the checkpoint, which a schedule may depend on.
    """

    def __init__(self, record: dict[str, Any]):
        self.record = record
        self._metrics: dict[str, float] = {}

    def on_load_checkpoint(self, _: Any, __: Any, checkpoint: dict[str, Any]) -> None:
        self._metrics = checkpoint[RECORD_KEY]["metrics"]

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.callback_metrics.update(
            {name: torch.tensor(value) for name, value in self._metrics.items()}
        )

    def on_save_checkpoint(self, trainer: pl.Trainer, _: Any, checkpoint: dict[str, Any]) -> None:
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        checkpoint[RECORD_KEY] = {**self.record, "metrics": metrics}


class RandomStates(pl.Callback):
    """A callback that saves the random states of each process and restores them on resume.

    If the number of processes has changed, they keep the states of the seed.
    """

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all processes. Every process must call it."""
        numpy_state: Any = np.random.get_state(legacy=False)
        generator = numpy_state["state"]
        # A checkpoint may not hold numpy arrays.
        keys = torch.from_numpy(generator["key"].astype(np.int64))
        states = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all(),
            "python": random.getstate(),
            "numpy": {**numpy_state, "state": {**generator, "key": keys}},
        }
        return {"states": gather_from_processes(states)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.states = state_dict["states"]

    def on_train_start(self, trainer: pl.Trainer, *_: Any) -> None:
        all_states, self.states = self.states, None
        if all_states is None or len(all_states) != trainer.world_size:
            return
        states = all_states[trainer.global_rank]
        torch.set_rng_state(states["torch"])
        if len(states["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(states["cuda"])
        random.setstate(states["python"])
        generator = states["numpy"]["state"]
        keys = generator["key"].numpy().astype(np.uint32)
        np.random.set_state({**states["numpy"], "state": {**generator, "key": keys}})
