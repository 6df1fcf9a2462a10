"""Build the task and the data of a run from its settings."""

from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from w2v2_mt.data.joint import JointData, Mixture, tasks_by_folder
from w2v2_mt.data.loading import TaskData
from w2v2_mt.inference.trained_network import TrainedNetwork
from w2v2_mt.losses.multi_task import MultiTaskLossSettings
from w2v2_mt.models.trunk_settings import TrunkSettings
from w2v2_mt.optim.optimizers import OptimizerSettings
from w2v2_mt.optim.schedules import Schedule
from w2v2_mt.settings.dev_metric import dev_metric
from w2v2_mt.settings.instantiation import Config, instantiate
from w2v2_mt.settings.validation import ASSEMBLY
from w2v2_mt.tasks.evaluation import RunEvaluation
from w2v2_mt.tasks.objective import ObjectiveSettings
from w2v2_mt.tasks.objective_settings import EvaluationSettings
from w2v2_mt.tasks.optimization import OptimizationPlan
from w2v2_mt.tasks.training_task import TrainingTask
from w2v2_mt.training.trainer import TrainerSettings


@dataclass(frozen=True, kw_only=True)
class RunParts:
    """The objects that the node `assembly` of the settings describes, those of tasks by its name.

    Without `loss`, the losses of several tasks are weighted equally. `untested_tasks` are further
    tasks of a trained network that is tested on some of its tasks.
    """

    data: dict[str, TaskData]
    mixture: Mixture = field(default_factory=Mixture)
    objectives: dict[str, ObjectiveSettings]
    network: TrunkSettings
    optimizer: OptimizerSettings
    schedule: Schedule
    loss: MultiTaskLossSettings | None = None
    trainer: TrainerSettings
    callbacks: dict[str, pl.Callback | None] | None
    evaluation: EvaluationSettings
    untested_tasks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Raise a ValueError if the parts do not fit together."""
        self.mixture.find_weights(list(tasks_by_folder(self.data)))
        if set(self.network.tasks) != {*self.objectives, *self.untested_tasks}:
            raise ValueError(
                f"network ({type(self.network).__name__}) must have heads for "
                f"{' and '.join(self.objectives)}. Choose another option of the group network."
            )
        if self.trainer.compile and self.network.pack_frames:
            raise ValueError(
                "trainer.compile (true) must not be combined with network.pack_frames, as layers "
                "would be compiled again for the lengths of each batch. Set one of them to false."
            )
        if self.trainer.pack_tasks and not self.network.pack_frames:
            raise ValueError(
                "trainer.pack_tasks (true) must not pad the utterances of one task to those of the "
                "other. Set network.pack_frames=true."
            )


@dataclass(frozen=True, kw_only=True)
class Job:
    """The task, the data and the trainer of a run.

    Args:
        dev_metric: The validation metric by which the run is judged.
        network_record: What a checkpoint needs, besides settings and weights, to build the network.
        training_metadata: The content of the meta.json of each training set, by its folder.
    """

    task: TrainingTask
    data: TaskData | JointData
    trainer: TrainerSettings
    callbacks: list[pl.Callback]
    dev_metric: str
    network_record: dict[str, Any]
    training_metadata: dict[str, dict[str, Any]]


def build_job(config: Config, *, trained: TrainedNetwork | None = None) -> Job:
    """Build the task and the data of a run from its settings, with the node `assembly`.

    The training data of a `trained` network, which is only tested, need not exist.

    Raises:
        ValueError: Shards or weights do not exist, or settings conflict with them.
    """
    known = {}
    if trained is not None and trained.tokenizer is not None:
        known["speech.tokenizer"] = trained.tokenizer
    assembly = config[ASSEMBLY]
    if trained is not None:
        untested = [task for task in trained.tasks if task not in assembly["data"]]
        assembly = {**assembly, "untested_tasks": untested}
    parts = instantiate(assembly, RunParts, settings=config, key=ASSEMBLY, objects=known)
    joint = JointData(parts.mixture, **parts.data)
    objectives = {
        task: settings.build(parts.data[task]) for task, settings in parts.objectives.items()
    }
    evaluations = {task: objective.evaluation for task, objective in objectives.items()}
    measured = RunEvaluation(evaluations).validation_names()
    callbacks = [callback for callback in (parts.callbacks or {}).values() if callback is not None]
    for callback in callbacks:
        # Other callbacks of Lightning may monitor what training measures.
        monitor = callback.monitor if isinstance(callback, ModelCheckpoint) else None
        for name in getattr(callback, "monitored_metrics", [] if monitor is None else [monitor]):
            if name not in measured:
                raise ValueError(
                    f"The metric of a callback ({name}) must be measured by this command. "
                    f"Choose one of {', '.join(sorted(measured))}."
                )
    sizes = {} if trained else joint.network_sizes()
    network = trained.network if trained else parts.network.build(**sizes)
    steps_between = min(parts.trainer.val_check_interval, parts.trainer.max_steps)
    task = TrainingTask(
        network=network,
        objectives=objectives,
        optimization=OptimizationPlan(
            optimizer=parts.optimizer.build,
            schedule=parts.schedule,
            num_steps=parts.trainer.max_steps,
            monitor=dev_metric(measured),
            num_batches_between_validations=steps_between * parts.trainer.accumulate_grad_batches,
        ),
        loss=parts.loss and parts.loss.build(list(objectives)),
        pack_tasks=parts.trainer.pack_tasks,
    )
    symbols = [data.tokenizer.symbols for data in parts.data.values() if data.tokenizer is not None]
    speakers = [] if trained else [data.speakers for data in parts.data.values() if data.speakers]
    return Job(
        task=task,
        data=joint if len(parts.data) > 1 else next(iter(parts.data.values())),
        trainer=parts.trainer,
        callbacks=callbacks,
        dev_metric=dev_metric(measured),
        network_record={
            "num_speakers": trained.num_speakers if trained else sizes.get("num_speakers"),
            "architecture": network.trunk.architecture,
            "vocabulary": symbols[0] if symbols else None,
            "speakers": speakers[0] if speakers else None,
        },
        training_metadata={
            folder: meta
            for data in parts.data.values()
            for folder, meta in data.training_metadata().items()
        },
    )
