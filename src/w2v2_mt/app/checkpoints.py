"""Checkpoints: where a run keeps them, and how one is read."""

import textwrap
import zipfile
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

RECORD_KEY = "w2v2_mt"
"""Where a checkpoint keeps what this project adds to it: settings, class count, metrics."""

_ADVICE = "name a complete one of this project, such as <run folder>/checkpoints/best.ckpt."
_CONTENT = ("state_dict", "global_step", RECORD_KEY)


class MovableCheckpoint(ModelCheckpoint):
    """Knows what it has saved by the names of the files, so that their folder can be moved.

    Lightning's own forgets the best score where the folder is another one.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(
            {
                **state_dict,
                "dirpath": self.dirpath,
                "best_model_path": self._here(state_dict["best_model_path"]),
                "kth_best_model_path": self._here(state_dict["kth_best_model_path"]),
                "last_model_path": self._here(state_dict["last_model_path"]),
                "best_k_models": {
                    self._here(path): score for path, score in state_dict["best_k_models"].items()
                },
            }
        )

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Raises ValueError where training goes on without the best checkpoint so far."""
        super().on_train_start(trainer, pl_module)
        if self.best_model_path and not Path(self.best_model_path).is_file():
            raise ValueError(
                f"there is no {self.best_model_path}, the best checkpoint so far; bring it with "
                "the other files of its folder."
            )

    def _here(self, path: str) -> str:
        assert self.dirpath is not None
        return str(Path(self.dirpath) / Path(path).name) if path else ""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a checkpoint of this project; ValueError for any other file."""
    if not path.is_file():
        raise ValueError(f"there is no checkpoint {path}; {_ADVICE}")
    try:
        # Mapped, since most readers want a few numbers of a large file.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # Whatever unpickling makes of foreign bytes.
        raise ValueError(f"{path} is damaged or no checkpoint; {_ADVICE}") from error
    if not isinstance(content, dict) or not all(name in content for name in _CONTENT):
        raise ValueError(f"{path} is no checkpoint of this project; {_ADVICE}")
    return content


def read_whole_checkpoint(path: Path) -> dict[str, Any]:
    """The same, of which no part has changed since it was written, which torch does not notice."""
    if path.is_file():
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except Exception as error:  # Whatever the reader of zips makes of foreign bytes.
            raise ValueError(f"{path} is damaged or no checkpoint; {_ADVICE}") from error
        if damaged is not None:
            raise ValueError(f"{path} is damaged ({damaged} has another checksum); {_ADVICE}")
    return read_checkpoint(path)


def load_network(task: pl.LightningModule, path: Path) -> None:
    """Give a task the weights of a checkpoint.

    Raises ValueError where the file is damaged, or they are of another network.
    """
    content = read_whole_checkpoint(path)
    try:
        task.load_state_dict(content["state_dict"], strict=True)
    except RuntimeError as error:
        raise ValueError(
            f"the network of {path} is not the one that the settings describe "
            f"({textwrap.shorten(str(error), 200)}); use the settings in config.yaml beside it."
        ) from error
