"""A callback that waits in one phase of a run, so that a test can signal it there."""

import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

PAUSED = "paused"


class Pause(pl.Callback):
    """Print and wait, once in each process, until the file `go_on` exists; not at the first step.

    Args:
        phase: The name of a hook of Lightning.
    """

    def __init__(self, *, phase: str, go_on: str) -> None:
        self.phase = phase
        self.go_on = Path(go_on)
        self.is_over = False
        setattr(self, phase, self._wait)

    def _wait(self, trainer: pl.Trainer, *_: Any, **__: Any) -> None:
        is_first = self.phase == "on_train_batch_start" and trainer.global_step == 0
        if self.is_over or is_first:
            return
        self.is_over = True
        os.write(1, f"{PAUSED}\n".encode())
        while not self.go_on.exists():
            time.sleep(0.05)
