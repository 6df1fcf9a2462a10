"""The data of several tasks: a batch of each for a training step, or one joint batch."""

import os.path
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.core.batches import JointBatch
from w2v2_mt.core.constraints import PositiveFloat
from w2v2_mt.core.samples import EncodedSample, JointSample
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.loading import TaskData
from w2v2_mt.data.worker_resources import WorkerDemand


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """The way in which a multi-task run mixes its training sets, keys of `data`.

    Args:
        mode: "alternate" trains on a batch of each task per step; "joint" on one batch, whose
            utterances have labels of one task or several.
        weights: The weight of each training set, by its folder or the end of its path. None: each
            epoch holds each utterance once.
    """

    mode: Literal["alternate", "joint"] = "alternate"
    weights: dict[str, PositiveFloat] | None = None

    def find_weights(self, folders: Sequence[Path]) -> dict[Path, float] | None:
        """Return the weight of each folder; a ValueError says that it is not one of each."""
        if self.weights is None:
            return None
        found: dict[Path, list[float]] = {folder: [] for folder in folders}
        for name, weight in self.weights.items():
            parts = Path(name).parts
            own = [folder for folder in folders if folder.parts[-len(parts) :] == parts]
            if len(own) != 1:
                raise ValueError(
                    f"data.weights.{name} must be that of one training set, but its name is the "
                    f"end of {len(own)} of {', '.join(map(str, folders))}. Name one of these."
                )
            found[own[0]].append(weight)
        for folder, weights in found.items():
            if len(weights) != 1:
                raise ValueError(
                    f"data.weights ({', '.join(self.weights)}) must have one weight for {folder}, "
                    f"but has {len(weights)}. Name the end of its path once."
                )
        return {folder: weight for folder, (weight,) in found.items()}


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """The tasks that use a training utterance.

    Args:
        tasks: The tasks that train on each folder of shards.
        has_label: The function of each task that recognises samples with a label.
        chunked: The tasks that train on chunks of utterances.
    """

    tasks: Mapping[Path, Sequence[str]]
    has_label: Mapping[str, Callable[[EncodedSample], bool]]
    chunked: Sequence[str]

    def tasks_of(self, sample: EncodedSample) -> list[str]:
        """Return the tasks for which a sample has a label."""
        named = self.tasks[Path(os.path.dirname(sample.shard))]
        return [task for task in named if self.has_label[task](sample)]

    def is_used(self, sample: EncodedSample) -> bool:
        """Return True for a sample with a label of any task."""
        return bool(self.tasks_of(sample))

    def is_whole(self, sample: EncodedSample) -> bool:
        """Return True for a sample that a task uses whole."""
        return not set(self.tasks_of(sample)) <= set(self.chunked)


@dataclass(frozen=True, kw_only=True)
class JointSampleMaker:
    """A maker of samples for all tasks that use an utterance.

    Args:
        makers: The function of each task that makes a sample of its own.
    """

    labelling: Labelling
    makers: Mapping[str, Callable[[EncodedSample], Any]]

    def __call__(self, sample: EncodedSample) -> JointSample:
        """Decode a sample once, and make those of its tasks."""
        tasks = self.labelling.tasks_of(sample)
        if not tasks:
            raise ValueError(
                f"The training sets must hold utterances with labels of "
                f"{' or '.join(self.makers)}, but have none, such as {sample.key} in shard "
                f"{sample.shard}, whose json has {sorted(sample.metadata)}. Choose other sets."
            )
        sample = replace(sample, decoded=decode(sample))
        labelled = {task: self.makers[task](sample) for task in tasks}
        return JointSample(
            key=sample.key,
            waveform=labelled[tasks[0]].waveform,
            speaker_id=sample.speaker,
            labelled=labelled,
        )


def tasks_by_folder(data_of_task: Mapping[str, TaskData]) -> dict[Path, list[str]]:
    """Return the tasks that train on each folder of shards, which several may name."""
    tasks: dict[Path, list[str]] = {}
    for task, data in data_of_task.items():
        for folder in data.training_folders():
            tasks.setdefault(data.store.folder(folder).resolve(), []).append(task)
    return tasks


class JointData(LightningDataModule):
    """The data of a run with several tasks.

    A training step receives a dictionary with one batch of each task or, with the mode "joint", a
    `JointBatch`. Evaluation reads the sets of the first task, then those of the second, and so on.

    Args:
        mixture: The way in which the training sets are mixed. None: "alternate" without weights.
        **data_of_task: The data of each task, by the name of the task.
    """

    def __init__(self, mixture: Mixture | None = None, /, **data_of_task: TaskData) -> None:
        super().__init__()
        self.data_of_task = data_of_task
        self.mixture = mixture or Mixture()
        weights = self.mixture.find_weights(list(tasks_by_folder(data_of_task)))
        for data in data_of_task.values():
            data.companions = data_of_task
            data.weights = weights

    def setup(self, stage: str) -> None:
        """Pass on the trainer, from which a task's data reads its rank and position."""
        for data in self.data_of_task.values():
            data.trainer = self.trainer

    def network_sizes(self) -> dict[str, Any]:
        sizes = (data.network_sizes() for data in self.data_of_task.values())
        return {name: size for of_task in sizes for name, size in of_task.items()}

    def worker_demands(self, *, trains: bool, tests: bool) -> list[WorkerDemand]:
        """Return what the DataLoader workers of each task ask of the machine."""
        is_joint = self.mixture.mode == "joint"
        demands = []
        for data in self.data_of_task.values():
            makes_batches = not is_joint or data.whole_batches() is not None
            demands += data.worker_demands(trains=trains and makes_batches, tests=tests)
        return demands

    def state_dict(self) -> dict[str, Any]:
        # A training step consumes one batch of each task, or one joint batch.
        progress = next(iter(self.data_of_task.values())).progress_state()
        positions = {task: data.position_state() for task, data in self.data_of_task.items()}
        return {**progress, "position": positions}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        # Earlier versions stored the number of batches only.
        positions = state_dict.get("position") or {}
        for task, data in self.data_of_task.items():
            data.load_state_dict({**state_dict, "position": positions.get(task)})

    def train_dataloader(self) -> dict[str, DataLoader[Any]] | DataLoader[Any]:
        if self.mixture.mode == "joint":
            return self._joint_loader()
        return {task: data.train_dataloader() for task, data in self.data_of_task.items()}

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [loader for data in self.data_of_task.values() for loader in data.val_dataloader()]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [loader for data in self.data_of_task.values() for loader in data.test_dataloader()]

    def _joint_loader(self) -> DataLoader[Any]:
        """Return the stream of the training sets of all tasks, each of which it reads once."""
        tasks = tasks_by_folder(self.data_of_task)
        shards = [
            shard
            for folder, (task, *_) in tasks.items()
            for shard in self.data_of_task[task].shards(str(folder))
        ]
        chunkings = {
            task: chunking
            for task, data in self.data_of_task.items()
            if (chunking := data.chunking()) is not None
        }
        labelling = Labelling(
            tasks=tasks,
            has_label={task: type(data).has_label for task, data in self.data_of_task.items()},
            chunked=list(chunkings),
        )
        normalisers = {data.normaliser for data in self.data_of_task.values()}
        if len(normalisers) > 1:
            raise ValueError(
                "data.mode (joint) must have one normaliser, since all tasks read the same "
                f"waveforms, but has {len(normalisers)}. Make *.pipeline.normaliser equal."
            )
        for data in self.data_of_task.values():
            if (batches := data.whole_batches()) is not None:
                break
        else:
            raise ValueError(
                "data.mode (joint) must have a task that makes batches of whole utterances, such "
                "as speech. Set data.mode=alternate."
            )
        return data.training_loader(
            shards,
            **batches,
            choosing=[
                partial(chunking, is_whole=labelling.is_whole)
                for chunking in islice(chunkings.values(), 1)
            ],
            has_label=labelling.is_used,
            make_sample=JointSampleMaker(
                labelling=labelling,
                makers={
                    task: data.sample_maker(is_training=True)
                    for task, data in self.data_of_task.items()
                },
            ),
            collate=partial(
                JointBatch.collate,
                set_name="train",
                collate={task: type(data).collate for task, data in self.data_of_task.items()},
            ),
        )
