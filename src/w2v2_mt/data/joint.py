"""The data of several tasks: one batch of each for a training step."""

from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.data.loading import TaskData


class JointData(LightningDataModule):
    """The data of a run with several tasks.

    A training step receives a dictionary with one batch of each task. Evaluation reads the sets of
    the first task, then those of the second, and so on.

    Args:
        **data_of_task: The data of each task, by the name of the task.
    """

    def __init__(self, **data_of_task: TaskData) -> None:
        super().__init__()
        self.data_of_task = data_of_task
        for data in data_of_task.values():
            data.companions = data_of_task

    def setup(self, stage: str) -> None:
        """Pass on the trainer, from which a task's data reads its rank and position."""
        for data in self.data_of_task.values():
            data.trainer = self.trainer

    def network_sizes(self) -> dict[str, Any]:
        sizes = (data.network_sizes() for data in self.data_of_task.values())
        return {name: size for of_task in sizes for name, size in of_task.items()}

    def state_dict(self) -> dict[str, int]:
        # A training step consumes one batch of each task.
        return next(iter(self.data_of_task.values())).state_dict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        for data in self.data_of_task.values():
            data.load_state_dict(state_dict)

    def train_dataloader(self) -> dict[str, DataLoader[Any]]:
        return {task: data.train_dataloader() for task, data in self.data_of_task.items()}

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [loader for data in self.data_of_task.values() for loader in data.val_dataloader()]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [loader for data in self.data_of_task.values() for loader in data.test_dataloader()]
