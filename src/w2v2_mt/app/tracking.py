"""Where the values that a run logs are written: csv and TensorBoard, and wandb when asked."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger
from pytorch_lightning.utilities import rank_zero_only

from w2v2_mt.app.curves_file import CurvesFile, Row, rows_of
from w2v2_mt.app.report.run_report import Report
from w2v2_mt.app.run_folder import CURVES_FILE, RunFolder
from w2v2_mt.app.wandb_tracking import WandbLogger, connect


@contextmanager
def followed(
    config: dict[str, Any],
    folder: Path,
    *,
    num_steps_done: int,
    command: str,
    sweep: str | None,
) -> Iterator[list[Logger]]:
    """The trackers of one run, all writing below its folder, told at the end how it ended.

    What was logged for the first `num_steps_done` steps, of which the folder has a checkpoint, is
    kept. Raises ValueError where wandb refuses the account.

    Args:
        command: Which of the kinds of training.
        sweep: The name of the sweep that the run is a job of.
    """
    loggers: list[Logger] = [
        _csv_logger(folder, num_steps_done=num_steps_done),
        # Of what it has shown from `purge_step` on, a reader of the files shows the new values.
        TensorBoardLogger(
            save_dir=folder, name="tensorboard", version="", purge_step=num_steps_done or None
        ),
    ]
    if config["use_wandb"]:
        wandb_logger = connect(
            folder,
            project=config["project_name"],
            name=config["experiment_name"],
            tags=config["tag"],
            group=sweep,
            job_type="train" if config["fit_model"] else "test",
            config={"command": command, **config},
        )
        if wandb_logger is not None:
            loggers.append(wandb_logger)
    exit_code = 1
    try:
        yield loggers
        exit_code = 0
    except SystemExit as stop:
        exit_code = stop.code if isinstance(stop.code, int) else 1
        raise
    finally:
        for logger in _of_wandb(loggers):
            logger.finish(exit_code)


def tell_outcome(loggers: Sequence[Logger], report: Report, folder: Path) -> None:
    """Hand the report of a run to the tracker that can show it."""
    for logger in _of_wandb(loggers):
        logger.log_outcome(report, RunFolder(folder))


def _of_wandb(loggers: Sequence[Logger]) -> list[WandbLogger]:
    return [logger for logger in loggers if isinstance(logger, WandbLogger)]


def _csv_logger(folder: Path, *, num_steps_done: int) -> CSVLogger:
    path = folder / CURVES_FILE
    rows = []
    if path.exists():
        rows = [
            row
            for row in rows_of(path)
            if int(row["step"]) < num_steps_done and not _is_of_test(row)
        ]
    logger = CSVLogger(save_dir=folder, name="", version="", flush_logs_every_n_steps=10)
    _take_over(rows, logger, folder)
    return logger


def _is_of_test(row: Row) -> bool:
    """The test comes last and is made again."""
    return any(value and name.startswith("test_") for name, value in row.items())


@rank_zero_only
def _take_over(rows: list[Row], logger: CSVLogger, folder: Path) -> None:
    # In place of the writer that Lightning makes where there is none yet.
    logger._experiment = CurvesFile(folder, kept=rows)
