"""A training loss that is no number: the run ends and names the batch, or leaves the step out."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.processes import gathered_from_processes, sum_over_processes

NON_FINITE_FILE = "non_finite_batch.json"

MAX_SKIPPED_IN_A_ROW = 20
"""As weights stay as they were, so many different batches show that these are to blame."""

_NUM_SKIPPED = "train_num_skipped_steps"

log = logging.getLogger(__name__)


class _Count:
    """A count that sets out from a GPU at once and is waited for only where it is read.

    Read from the GPU itself, it would come behind whatever has been queued there since.
    """

    def __init__(self, value: Int[Tensor, ""]):
        self._value = value.to("cpu", non_blocking=True)
        self._arrival = torch.cuda.current_stream().record_event() if value.is_cuda else None

    def read(self) -> int:
        if self._arrival is not None:
            self._arrival.synchronize()
        return int(self._value)


@dataclass(frozen=True, kw_only=True)
class _BatchLosses:
    """What is remembered of a batch until somebody asks whether its loss was a number."""

    step: int
    keys: Mapping[str, list[str]]
    losses: Mapping[str, Float[Tensor, ""]]
    num_non_finite: _Count
    """Processes whose loss is no number, so that all of them decide alike."""


class NonFiniteLosses(pl.Callback):
    """Watches the training loss, and writes `non_finite_batch.json` where it is NaN or infinite.

    Unless steps are skipped, a loss is looked at one batch later, when a GPU has it already, so
    that nothing waits for it, but always before a validation and before a checkpoint.
    Skipping has to know before the weights change, and so waits for the loss of every step.

    Gradients are not looked at: those that overflow in fp16 are left to its scaler.

    Args:
        folder: of the run.
        skip: go on without the step: weights, moments of the optimiser and what losses remember
            stay as they were. It counts as a step otherwise.

    Raises:
        ValueError: the loss is no number, and steps are not skipped, or too many in a row were.
    """

    def __init__(self, *, folder: Path, skip: bool):
        self.folder = folder
        self.skip = skip
        self.num_skipped = 0
        self._num_in_a_row = 0
        self._seen: list[_BatchLosses] = []
        self._keys: dict[str, list[str]] = {}
        self._parts: dict[str, Tensor] = {}
        self._num_non_finite = _Count(torch.tensor(0))
        self._step = 0
        self._buffers: dict[str, Tensor] = {}
        self._skips_this_step = False

    def state_dict(self) -> dict[str, Any]:
        return {"num_skipped": self.num_skipped, "num_in_a_row": self._num_in_a_row}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_skipped = state_dict["num_skipped"]
        self._num_in_a_row = state_dict.get("num_in_a_row", 0)  # Unknown to older checkpoints.

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._step, self._keys = trainer.global_step + 1, _keys_of(batch)
        if self.skip and not self._seen:
            # What a loss remembers of a step has to be as it was, too.
            self._buffers = {name: each.clone() for name, each in pl_module.named_buffers()}

    def on_before_backward(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, loss: Tensor
    ) -> None:
        self._num_non_finite = _Count(sum_over_processes((~torch.isfinite(loss)).long()))
        result = getattr(pl_module, "result", None)  # Of a multi-task run, until its backward pass.
        self._parts = {} if result is None else dict(result.losses)
        if not self.skip:
            self._check()

    def on_before_optimizer_step(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        optimizer: torch.optim.Optimizer,
    ) -> None:
        if not self.skip:
            return
        counts = [*(batch.num_non_finite for batch in self._seen), self._num_non_finite]
        self._skips_this_step = any(count.read() for count in counts)
        if self._skips_this_step:
            optimizer.zero_grad(set_to_none=True)  # What has no gradient, no optimiser touches.
            for name, buffer in pl_module.named_buffers():
                buffer.copy_(self._buffers[name])

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        # Lightning has divided it by the number of batches in a step.
        loss = outputs["loss"] * trainer.accumulate_grad_batches
        losses = {name: each.detach() for name, each in {"loss": loss, **self._parts}.items()}
        self._seen.append(
            _BatchLosses(
                step=self._step, keys=self._keys, losses=losses, num_non_finite=self._num_non_finite
            )
        )
        if not self.skip:
            return
        if trainer.global_step == self._step:
            if self._skips_this_step:
                self._count_skipped()
            else:
                self._num_in_a_row = 0
            self._seen.clear()
        pl_module.log(_NUM_SKIPPED, float(self.num_skipped), batch_size=1)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._check()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._check()

    def _check(self) -> None:
        if self.skip:
            return  # Each step has been looked at.
        batch = self._first_non_finite()
        self._seen.clear()
        if batch is not None:
            raise ValueError(
                f"{self._written(batch)}; look at them, lower optim.algo.lr, or leave such steps "
                "out with trainer.skip_non_finite=true."
            )

    def _count_skipped(self) -> None:
        batch = self._first_non_finite()
        assert batch is not None
        self.num_skipped += 1
        self._num_in_a_row += 1
        if self._num_in_a_row == MAX_SKIPPED_IN_A_ROW:
            raise ValueError(
                f"{self._written(batch)}, and {MAX_SKIPPED_IN_A_ROW} steps in a row had to be left "
                "out, so that it is the weights and no longer a batch; lower optim.algo.lr and "
                "begin another run."
            )
        _warn(f"{self._written(batch)}; the step is left out, as {self.num_skipped - 1} before it.")

    def _first_non_finite(self) -> _BatchLosses | None:
        return next((batch for batch in self._seen if batch.num_non_finite.read()), None)

    def _written(self, batch: _BatchLosses) -> str:
        """Write the file and say what is in it. Every process calls it."""
        losses = {name: float(loss) for name, loss in batch.losses.items()}
        of_processes = gathered_from_processes((losses, batch.keys))
        # JSON has no word for what is no number.
        content = {
            "step": batch.step,
            "processes": [
                {
                    "losses": {
                        name: loss if math.isfinite(loss) else str(loss)
                        for name, loss in losses.items()
                    },
                    "keys": keys,
                }
                for losses, keys in of_processes
            ],
        }
        path = self.folder / NON_FINITE_FILE
        _write(path, content)
        named = ", ".join(
            f"{name} {loss:.4g}"
            for losses, _ in of_processes
            if not math.isfinite(losses["loss"])
            for name, loss in losses.items()
        )
        return (
            f"the training loss of step {batch.step} is no number ({named}); {path} has the keys "
            "of its utterances"
        )


@pl.utilities.rank_zero_only
def _warn(sentence: str) -> None:
    log.warning(sentence)


@pl.utilities.rank_zero_only
def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


def _keys_of(batch: Any) -> dict[str, list[str]]:
    """The keys of the utterances, by task."""
    batches = batch if isinstance(batch, dict) else {"batch": batch}
    return {
        task: of_task.keys
        for task, of_task in batches.items()
        if isinstance(of_task, WaveformBatch)
    }
