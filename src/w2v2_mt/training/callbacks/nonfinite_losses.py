"""Stop at a training loss that is NaN or infinite, or skip its step, and record the batch."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.distributed import gather_from_processes, sum_over_processes
from w2v2_mt.core.units import count
from w2v2_mt.tasks.training_task import TrainingTask

NON_FINITE_FILE = "non_finite_batch.json"

MAX_SKIPPED_IN_A_ROW = 20
"""Skipped steps do not change the weights, so that many different batches mean corrupt weights."""

log = logging.getLogger(__name__)


@dataclass
class _Batch:
    """A batch whose loss was not checked yet."""

    step: int
    keys: dict[str, list[str]]
    losses: dict[str, Tensor]
    # Counts processes, so all agree. Copied at once, so reading it does not wait for later work.
    num_non_finite: Tensor
    copied: torch.cuda.Event | None

    def is_finite(self) -> bool:
        if self.copied is not None:
            self.copied.synchronize()
        return int(self.num_non_finite) == 0


class NonFiniteLosses(pl.Callback):
    """A callback that checks the training loss and records the batch if it is not finite.

    The record is `non_finite_batch.json`. A loss is checked one batch later, when it has arrived
    from the GPU, but always before a validation and before a checkpoint. Gradients are not checked:
    those that overflow in fp16 are left to the gradient scaler.

    Args:
        skip: Skip the step instead of raising a ValueError: weights, optimizer state and buffers of
            losses do not change, but the step counts. This waits for the loss of each step.
    """

    def __init__(self, *, skip: bool):
        self.skip = skip
        self.num_skipped = 0
        self._num_in_a_row = 0
        self._keys: dict[str, list[str]] = {}
        self._unchecked: list[_Batch] = []
        self._buffers: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"num_skipped": self.num_skipped, "num_in_a_row": self._num_in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_skipped = state_dict["num_skipped"]
        self._num_in_a_row = state_dict.get("num_in_a_row", 0)  # Old checkpoints lack it.

    def on_train_batch_start(self, _: Any, task: pl.LightningModule, batch: Any, *__: Any) -> None:
        batches = batch if isinstance(batch, dict) else {"batch": batch}
        self._keys = {
            name: each.keys for name, each in batches.items() if isinstance(each, WaveformBatch)
        }
        if self.skip and not self._unchecked:
            # A skipped step must not change the buffers of a loss either.
            self._buffers = {name: each.clone() for name, each in task.named_buffers()}

    def on_before_backward(
        self, trainer: pl.Trainer, task: pl.LightningModule, loss: Tensor
    ) -> None:
        self._check(trainer)
        count = sum_over_processes((~torch.isfinite(loss)).long())
        self._unchecked.append(
            _Batch(
                step=trainer.global_step + 1,
                keys=self._keys,
                losses=task.losses_of_tasks if isinstance(task, TrainingTask) else {},
                num_non_finite=count.to("cpu", non_blocking=True),
                copied=torch.cuda.current_stream().record_event() if count.is_cuda else None,
            )
        )

    def on_before_optimizer_step(
        self, _: Any, task: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        if self.skip and not all(batch.is_finite() for batch in self._unchecked):
            optimizer.zero_grad(set_to_none=True)  # Optimizers ignore parameters without gradient.
            for name, buffer in task.named_buffers():
                buffer.copy_(self._buffers[name])

    def on_train_batch_end(
        self, trainer: pl.Trainer, task: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        batch = self._unchecked[-1]
        # Lightning has divided the loss by the number of batches in a step.
        losses = {"loss": outputs["loss"] * trainer.accumulate_grad_batches, **batch.losses}
        batch.losses = {name: each.detach() for name, each in losses.items()}
        if not self.skip:
            return
        if trainer.global_step == batch.step:
            found = self._record_non_finite(trainer)
            self._num_in_a_row = self._num_in_a_row + 1 if found else 0
            self.num_skipped += bool(found)
            if self._num_in_a_row == MAX_SKIPPED_IN_A_ROW:
                raise ValueError(
                    f"{found}, and {MAX_SKIPPED_IN_A_ROW} steps in a row were skipped, so the "
                    "weights are the cause and not a batch. Lower optim.algo.lr and start another "
                    "run."
                )
            if found and trainer.is_global_zero:
                log.warning(
                    f"{found}; the step is skipped, after {count(self.num_skipped - 1, 'other')}."
                )
        task.log("train_num_skipped_steps", float(self.num_skipped), batch_size=1)

    def _check(self, trainer: pl.Trainer, *_: Any) -> None:
        # A step to skip was checked before it changed the weights.
        if not self.skip and (found := self._record_non_finite(trainer)):
            raise ValueError(
                f"{found}. Look at them, lower optim.algo.lr, or skip such steps with "
                "trainer.skip_non_finite=true."
            )

    on_validation_start = on_save_checkpoint = on_train_end = _check  # type: ignore[assignment]

    def _record_non_finite(self, trainer: pl.Trainer) -> str:
        """Describe the first unchecked batch with a non-finite loss, also in a file.

        Every process must call it. The sentence is empty if all losses are finite.
        """
        batch = next((each for each in self._unchecked if not each.is_finite()), None)
        self._unchecked.clear()
        if batch is None:
            return ""
        losses: dict[str, float | str] = {
            # JSON has no NaN or infinity.
            name: float(loss) if loss.isfinite() else str(float(loss))
            for name, loss in batch.losses.items()
        }
        own: dict[str, Any] = {"losses": losses, "keys": batch.keys}
        processes = gather_from_processes(own)
        path = Path(trainer.default_root_dir) / NON_FINITE_FILE
        if trainer.is_global_zero:
            content = {"step": batch.step, "processes": processes}
            replace_text(path, json.dumps(content, indent=2) + "\n")
        named = ", ".join(
            f"{name} {float(loss):.4g}"
            for process in processes
            if isinstance(process["losses"]["loss"], str)
            for name, loss in process["losses"].items()
        )
        return (
            f"the training loss of step {batch.step} is not finite ({named}); {path} has the keys "
            "of its utterances"
        )
