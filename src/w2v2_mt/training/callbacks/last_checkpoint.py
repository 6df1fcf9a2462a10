"""Keep the last checkpoint, from which a run resumes, and the one before it."""

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.runs.run_folder import CHECKPOINT_FOLDER
from w2v2_mt.training.checkpoints import read_whole_checkpoint

LAST = "last.ckpt"
_PREVIOUS = "last.previous.ckpt"

log = logging.getLogger(__name__)


class LastCheckpoint(pl.callbacks.Checkpoint):
    """A callback that saves the full state as `last.ckpt` and keeps `last.previous.ckpt`.

    It saves after each validation and, in between, at the first logged step that is more than
    `save_every_minutes` after the last save. (At every step, processes would have to agree on it.)
    """

    def __init__(self, *, save_every_minutes: PositiveFloat) -> None:
        self.save_every_minutes = save_every_minutes
        self._saved_at = time.monotonic()

    def on_train_start(self, *_: Any) -> None:
        self._saved_at = time.monotonic()

    def on_validation_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        interval: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
        if trainer.global_step % interval or not is_between_steps(trainer):
            return
        is_due = time.monotonic() - self._saved_at >= 60 * self.save_every_minutes
        if trainer.strategy.broadcast(is_due):
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        save_last(trainer)
        self._saved_at = time.monotonic()


def is_between_steps(trainer: pl.Trainer) -> bool:
    """Return True if the state at the end of a batch is safe to resume from.

    Accumulated gradients are not in a checkpoint, and Lightning does not catch up on a validation
    that is due.
    """
    num_batches = trainer.fit_loop.total_batch_idx + 1
    is_whole_step = num_batches % trainer.accumulate_grad_batches == 0
    return is_whole_step and num_batches % trainer.val_check_batch != 0  # type: ignore[operator]


def save_last(trainer: pl.Trainer) -> Path:
    """Save the full state as `last.ckpt` and return its path. Every process must call it."""
    folder = Path(trainer.default_root_dir) / CHECKPOINT_FOLDER
    last, new = folder / LAST, folder / f"{LAST}.new"
    for logger in trainer.loggers:
        logger.save()  # A resumed run does not log these steps again.
    trainer.save_checkpoint(new)
    if trainer.is_global_zero:
        if last.exists():
            last.replace(folder / _PREVIOUS)
        new.replace(last)
    trainer.strategy.barrier()
    return last


def latest_checkpoint(folder: Path) -> Path | None:
    """Find the checkpoint from which a run resumes; None if nothing was saved.

    It is `last.ckpt` or, if that is corrupt, the one before it. A ValueError says that both are.
    """
    last, previous = (folder / CHECKPOINT_FOLDER / name for name in (LAST, _PREVIOUS))
    if not last.exists():
        # A run that is killed between the two renames leaves the previous one only.
        return previous if previous.exists() else None
    try:
        read_whole_checkpoint(last)
    except ValueError as error:
        if not previous.exists():
            raise
        log.warning(f"{error} Resuming from {previous} instead.")
        return previous
    return last
