"""How checkpoints reach the disk: whole or not at all, the last one beside the one before it."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins import TorchCheckpointIO

from w2v2_mt.app.checkpoints import read_whole_checkpoint
from w2v2_mt.app.run_folder import CHECKPOINT_FOLDER
from w2v2_mt.core.constraints import PositiveFloat

LAST = "last.ckpt"
_PREVIOUS = "last.previous.ckpt"
_SECONDS_IN_MINUTE = 60

log = logging.getLogger(__name__)


class WholeFiles(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there when it is complete.

    Raises ValueError where it cannot be written; what was in its place is still there then.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        path = Path(path)
        part = path.with_name(f"{path.name}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        except (OSError, RuntimeError) as error:
            part.unlink(missing_ok=True)
            raise ValueError(
                f"cannot save {path} ({_first_line(error)}); make room for it and start the run "
                "again in its folder, where it goes on from what was saved before."
            ) from error


class LastCheckpoint(pl.callbacks.Checkpoint):
    """Keeps the full state as `last.ckpt`, and the one before it as `last.previous.ckpt`.

    It is saved at the end of each validation and, in between, where more than `save_every_minutes`
    have passed since, at the next step that is logged. (Several processes would have to ask each
    other at every step otherwise.)
    """

    def __init__(self, *, save_every_minutes: PositiveFloat) -> None:
        self.save_every_minutes = save_every_minutes
        self._saved_at = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._saved_at = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % interval or not is_between_steps(trainer):
            return
        is_due = time.monotonic() - self._saved_at >= self.save_every_minutes * _SECONDS_IN_MINUTE
        if trainer.strategy.broadcast(is_due):
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        save_last(trainer)
        self._saved_at = time.monotonic()


def is_between_steps(trainer: pl.Trainer) -> bool:
    """At the end of a batch: whether the state is one to go on from.

    Gradients that wait for further batches are in no checkpoint, and Lightning does not make up for
    a validation that is due.
    """
    num_batches = trainer.fit_loop.total_batch_idx + 1
    if num_batches % trainer.accumulate_grad_batches:
        return False
    return num_batches % trainer.val_check_batch != 0  # type: ignore[operator]


def save_last(trainer: pl.Trainer) -> Path:
    """Save the full state as `last.ckpt`. Every process calls it."""
    folder = Path(trainer.default_root_dir) / CHECKPOINT_FOLDER
    last, new = folder / LAST, folder / f"{LAST}.new"
    for logger in trainer.loggers:
        logger.save()  # What was logged so far would not be logged again.
    trainer.save_checkpoint(new)
    if trainer.is_global_zero:
        if last.exists():
            last.replace(folder / _PREVIOUS)
        new.replace(last)
    trainer.strategy.barrier()
    return last


def latest_checkpoint(folder: Path) -> Path | None:
    """The checkpoint that a run in `folder` goes on from; None where nothing was saved.

    Raises ValueError where all that was saved is damaged.
    """
    last, previous = (folder / CHECKPOINT_FOLDER / name for name in (LAST, _PREVIOUS))
    if not last.exists():
        # A run that is killed between two renames has the previous one only.
        return previous if previous.exists() else None
    try:
        read_whole_checkpoint(last)
    except ValueError as error:
        if not previous.exists():
            raise
        log.warning(f"{error} Going on from {previous} instead.")
        return previous
    return last


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
