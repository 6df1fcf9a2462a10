"""The LightningModule of every run: one network, and an objective for each of its tasks."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import Tensor, nn

from w2v2_mt.core.batches import BatchLengths, JointBatch, WaveformBatch
from w2v2_mt.losses.multi_task import MultiTaskLoss, MultiTaskLossResult
from w2v2_mt.losses.task_gradients import GradientGeometry
from w2v2_mt.losses.weighting import EqualWeighting
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.settings.dev_metric import dev_metric
from w2v2_mt.tasks.evaluation import RunEvaluation
from w2v2_mt.tasks.event_counter import EventCounter, rename_old_counts
from w2v2_mt.tasks.objective import Objective, ObjectiveResult
from w2v2_mt.tasks.optimization import OptimizationPlan

Batch = WaveformBatch | Mapping[str, WaveformBatch]
"""The batch of each task by its name; of an only task or of joint training, the batch alone."""


class TrainingTask(pl.LightningModule):
    """Wires a network to the objectives of its tasks, by the task's name, and logs.

    `loss` weights and adds the losses of the tasks; None gives them equal weights. With
    `pack_tasks`, one batch of each task passes through the network at once. `batch_lengths` are
    those of the batches that were moved to the device last.
    """

    def __init__(
        self,
        *,
        network: TaskNetwork,
        objectives: Mapping[str, Objective],
        optimization: OptimizationPlan,
        loss: MultiTaskLoss | None = None,
        pack_tasks: bool = False,
    ):
        super().__init__()
        self.network = network
        modules = nn.ModuleDict(objectives)
        self.objectives: Mapping[str, Objective] = modules  # type: ignore[assignment]
        self._counters = [each for each in modules.modules() if isinstance(each, EventCounter)]
        self.optimization = optimization
        self.pack_tasks = pack_tasks
        self.loss = loss or MultiTaskLoss(weighting=EqualWeighting())
        self.evaluation = RunEvaluation(
            {task: each.evaluation for task, each in objectives.items()}
        )
        self._weighted: MultiTaskLossResult | None = None  # between forward and backward pass
        self._compares_gradients = False
        self.batch_lengths: Sequence[BatchLengths] = ()
        self.register_load_state_dict_pre_hook(rename_old_counts)

    def configure_optimizers(self) -> Any:
        return self.optimization.configure(self.network, self.loss.weighting)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self.network.trunk.update_freezing(step=self.global_step)
        for objective in self.objectives.values():
            objective.set_step(self.global_step)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        weighted, by_task = self.compute_loss(batch)
        self._weighted = weighted
        is_first_of_step = batch_idx % self.trainer.accumulate_grad_batches == 0
        self._compares_gradients = is_first_of_step and self.loss.is_comparison(self.global_step)
        if len(by_task) < len(self.objectives):
            # Lightning would log the last values of the tasks without a label again.
            assert self.trainer._results is not None
            self.trainer._results.reset(fx="training_step")
        # Not for the progress bar of Lightning, which would wait for their values at each step.
        self.log_dict(weighted.metrics(), batch_size=1)
        for result in by_task.values():
            counts = {name: each.total.float() for name, each in result.counters.items()}
            self.log_dict({**result.metrics, **counts}, batch_size=1)
        if is_logging_step(self):
            for result in by_task.values():
                self.log_dict(result.diagnostics(), batch_size=1)
        return weighted.loss

    def compute_loss(self, batch: Batch) -> tuple[MultiTaskLossResult, dict[str, ObjectiveResult]]:
        """Return the weighted loss of one batch of each task, or of a joint batch, and the results.

        A task without a label in a joint batch has no result.
        """
        num_labelled = None
        if not isinstance(batch, Mapping):
            batches, num_labelled = [batch], batch.count_labels()
        elif self.pack_tasks:
            batches = [JointBatch.concatenate({task: batch[task] for task in self.objectives})]
        else:
            batches = [batch[task] for task in self.objectives]
        outputs: dict[str, Any] = {}
        parts: dict[str, WaveformBatch] = {}
        for each in batches:
            outputs |= self._answer(each)
            parts |= {task: each.part(task) for task in each.label_rows()}
        by_task = {
            task: objective(outputs[task], parts[task])
            for task, objective in self.objectives.items()
            if task in outputs
        }
        for counter in self._counters:
            counter.share()
        losses = {task: result.loss for task, result in by_task.items()}
        return self.loss(losses, num_labelled, is_one_pass=len(batches) == 1), by_task

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Read and check lengths while they are on the CPU: doing so later would stall the step."""
        batches = list(batch.values()) if isinstance(batch, Mapping) else [batch]
        for each in batches:
            self.network.trunk.backbone.check_lengths(each)
        self.batch_lengths = [each.read_lengths() for each in batches]
        return batch

    def _answer(self, batch: WaveformBatch) -> dict[str, Any]:
        """Return the output for the rows of each task that has a label in the batch."""
        self.network.trunk.backbone.check_lengths(batch)
        rows = batch.label_rows()
        return self.network.answer(
            batch.waveforms,
            batch.num_samples,
            tasks=list(rows),
            rows=rows,
            known_lengths=batch.host_lengths,
        )

    @property
    def losses_of_tasks(self) -> dict[str, Tensor]:
        """The losses of several tasks before weighting, until the backward pass; empty for one."""
        losses = {} if self._weighted is None else dict(self._weighted.losses)
        return losses if len(losses) > 1 else {}

    def backward(self, loss: Tensor) -> None:
        weighted, self._weighted = self._weighted, None
        assert weighted is not None
        geometry = self.backpropagate(loss, weighted, compares_gradients=self._compares_gradients)
        if geometry is not None and self._compares_gradients:
            # Written here, as what is logged otherwise waits for the interval of the Trainer.
            for logger in self.loggers:
                logger.log_metrics(geometry.metrics(), step=self.global_step)

    def backpropagate(
        self, total: Tensor, weighted: MultiTaskLossResult, *, compares_gradients: bool = False
    ) -> GradientGeometry | None:
        """Backpropagate a multiple of the weighted loss of a step.

        Returns:
            The geometry of the tasks' gradients, if the weighting or a comparison needs it and the
            encoder is not frozen.
        """
        is_per_task = self.loss.weighting.needs_task_gradients or compares_gradients
        if not is_per_task or self.network.trunk.is_frozen:
            total.backward()
            return None
        shared, unshared = self.network.split_parameters()
        return self.loss.backward_per_task(total, weighted, shared=shared, unshared=unshared)

    def on_validation_epoch_start(self) -> None:
        self.evaluation.reset()

    def validation_step(
        self, batch: WaveformBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.evaluation.by_task[batch.task].add_validated(self._answer(batch)[batch.task], batch)

    def on_validation_epoch_end(self) -> None:
        metrics = self.evaluation.validation_metrics()
        for name, value in metrics.items():
            self.log(name, value, prog_bar=name == dev_metric(metrics))

    def on_test_epoch_start(self) -> None:
        self.evaluation.reset()

    def test_step(self, batch: WaveformBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.evaluation.by_task[batch.task].add_tested(self._answer(batch)[batch.task], batch)

    def on_test_epoch_end(self) -> None:
        self.log_dict(self.evaluation.test_metrics())


def is_logging_step(task: pl.LightningModule) -> bool:
    """Return True if Lightning writes what this training step logs; costly values wait for it."""
    interval: int = task.trainer.log_every_n_steps  # type: ignore[attr-defined]
    return (task.global_step + 1) % interval == 0
