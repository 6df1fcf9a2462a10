"""Where the values that a run logs are written: csv and TensorBoard, and wandb when asked."""

import csv
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.app.run_folder import CURVES_FILE


def build_loggers(config: dict[str, Any], folder: Path, *, num_steps_done: int) -> list[Logger]:
    """The trackers of one run, all writing below its folder.

    What was logged for the first `num_steps_done` steps, of which the folder has a checkpoint, is
    kept. Raises ValueError where wandb refuses the account or does not answer.
    """
    loggers: list[Logger] = [
        _csv_logger(folder, num_steps_done=num_steps_done),
        TensorBoardLogger(save_dir=folder, name="tensorboard", version=""),
    ]
    if config["use_wandb"]:
        loggers.append(_wandb_logger(config, folder))
    return loggers


def _wandb_logger(config: dict[str, Any], folder: Path) -> WandbLogger:
    """Connected at once, so that a server that does not answer is told before training."""
    import wandb  # It takes long, and most runs do without.

    logger = WandbLogger(
        save_dir=folder,
        project=config["project_name"],
        name=config["experiment_name"],
        tags=tags(config["tag"]),
        config=config,
    )
    try:
        _ = logger.experiment
    except wandb.Error as error:
        raise ValueError(
            f"wandb cannot follow the run ({str(error).splitlines()[0]}); correct its settings, "
            "set WANDB_MODE=offline, or set use_wandb=false."
        ) from error
    return logger


def _csv_logger(folder: Path, *, num_steps_done: int) -> CSVLogger:
    path = folder / CURVES_FILE
    rows = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [
                row
                for row in csv.DictReader(file)
                if int(row["step"]) < num_steps_done and not _is_of_test(row)
            ]
    logger = CSVLogger(save_dir=folder, name="", version="", flush_logs_every_n_steps=10)
    _take_over(rows, logger)
    return logger


def _is_of_test(row: dict[str, str]) -> bool:
    """The test comes last and is made again."""
    return any(value and name.startswith("test_") for name, value in row.items())


@rank_zero_only
def _take_over(rows: list[dict[str, str]], logger: CSVLogger) -> None:
    # Lightning deletes the file that is there as it makes the `experiment`, which writes a new one.
    logger.experiment.metrics.extend(rows)
    logger.experiment.save()


def tags(tag: str | list[str] | None) -> list[str]:
    """A list, whether none, one or several were given."""
    if tag is None:
        return []
    return [tag] if isinstance(tag, str) else [str(word) for word in tag]
