"""Keep the checkpoint of the best validation."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from w2v2_mt.runs.run_folder import CHECKPOINT_FOLDER


class MovableCheckpoint(ModelCheckpoint):
    """A callback that keeps the full state with the lowest `monitor` as `best.ckpt`.

    It finds its earlier checkpoints by their file names. Lightning's own callback forgets the best
    score if the folder has another path.
    """

    def __init__(self, *, monitor: str):
        super().__init__(
            monitor=monitor,
            mode="min",
            save_top_k=1,
            filename="best",
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: pl.Trainer, *args: Any, **kwargs: Any) -> None:
        self.dirpath = str(Path(trainer.default_root_dir) / CHECKPOINT_FOLDER)
        super().setup(trainer, *args, **kwargs)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def move(path: str) -> str:
            if path and Path(path).name in ("", ".."):  # Lightning would remove what it names.
                raise ValueError(
                    f"the state to resume from names {path!r} as a checkpoint, which must be a "
                    "file. Resume from a checkpoint as a run wrote it."
                )
            return str(Path(str(self.dirpath)) / Path(path).name) if path else ""

        paths = ("best_model_path", "kth_best_model_path", "last_model_path")
        best_k_models = state_dict["best_k_models"]
        super().load_state_dict(
            {
                **state_dict,
                **{name: move(state_dict[name]) for name in paths},
                "dirpath": self.dirpath,
                "best_k_models": {move(path): score for path, score in best_k_models.items()},
            }
        )

    def on_train_start(self, *args: Any) -> None:
        """Raise a ValueError if the best checkpoint so far is missing."""
        super().on_train_start(*args)
        if self.best_model_path and not Path(self.best_model_path).is_file():
            raise ValueError(
                f"there is no {self.best_model_path}, the best checkpoint so far. Copy it together "
                "with the other files of its folder."
            )
