"""One run: train, test the best checkpoint, record."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import Logger

from w2v2_mt.app.build import Job, build_job
from w2v2_mt.app.callbacks import RunRecord, ValidationLines
from w2v2_mt.app.checkpoints import (
    RECORD_KEY,
    load_network,
    read_checkpoint,
    read_whole_checkpoint,
)
from w2v2_mt.app.faults import faults_in_sentences
from w2v2_mt.app.finished import was_run_with
from w2v2_mt.app.folder_taken import check_not_taken, check_test_is_kept
from w2v2_mt.app.instantiation import instantiate
from w2v2_mt.app.lr_range import run_range_test
from w2v2_mt.app.random_states import RandomStates
from w2v2_mt.app.record import remove_test_outputs, write_metrics, write_setting, write_test_outputs
from w2v2_mt.app.report.run_report import write_report
from w2v2_mt.app.resuming import check_same_settings
from w2v2_mt.app.run_folder import CHECKPOINT_FOLDER, CONFIG_FILE
from w2v2_mt.app.saving import latest_checkpoint
from w2v2_mt.app.stopping import StopOnSignal
from w2v2_mt.app.testing import settings_of_test
from w2v2_mt.app.tracking import followed, tell_outcome
from w2v2_mt.app.trained import load_trained

log = logging.getLogger(__name__)


def run(
    config: dict[str, Any],
    *,
    config_name: str,
    folder: Path,
    overrides: Sequence[str],
    sweep: str | None = None,
) -> float | None:
    """Do what the settings say and leave everything worth knowing in `folder`.

    Args:
        sweep: The name of the sweep that the run is a job of, for a tracker to group its runs by.

    Returns:
        The dev metric of the best checkpoint, None when nothing was trained.

    Raises:
        ValueError: settings, data or weights do not allow the run.
        SystemExit: a signal asked it to stop, and it was saved.
    """
    _quieten()
    with StopOnSignal() as stop_on_signal:
        return _run(config, config_name, folder, overrides, sweep, stop_on_signal)


def _run(
    config: dict[str, Any],
    config_name: str,
    folder: Path,
    overrides: Sequence[str],
    sweep: str | None,
    stop_on_signal: StopOnSignal,
) -> float | None:
    last = latest_checkpoint(folder) if config["fit_model"] else None
    num_steps_done = 0 if last is None else _num_steps_done(last, config, config_name)
    if last is None:
        check_not_taken(folder, trains=config["fit_model"], tests=config["eval_model"])
    else:
        check_test_is_kept(folder, tests=config["eval_model"])
    started_from = config["load_network_from_checkpoint"]
    trained = None
    if started_from is not None:
        checkpoint = Path(started_from)
        read_checkpoint(checkpoint)
        if not config["fit_model"]:
            trained = load_trained(checkpoint)
            config = settings_of_test(
                config,
                trained,
                config_name=config_name,
                overrides=overrides,
                checkpoint=checkpoint,
            )
    pl.seed_everything(config["seed"], workers=True, verbose=False)
    if not (folder / CONFIG_FILE).exists():
        # From here on, also a run that fails has a report.
        write_setting(folder, config=config, overrides=overrides)
    log.info(f"{config['experiment_name']}: {folder}")

    job = build_job(config, config_name, trained=trained)
    if config["eval_model"]:
        # Days before the test is the time to learn that its shards are missing.
        job.data.test_dataloader()
    if not config["fit_model"] or not was_run_with(folder, config):
        # What an earlier test left would stand beside the settings of this one.
        remove_test_outputs(folder)
    write_setting(folder, config=config, overrides=overrides)
    record = {"config_name": config_name, "config": config, **job.network_record}
    with (
        faults_in_sentences(),
        followed(
            config, folder, num_steps_done=num_steps_done, command=config_name, sweep=sweep
        ) as loggers,
    ):
        return _train_and_test(config, job, folder, record, loggers, last, stop_on_signal)


def _train_and_test(
    config: dict[str, Any],
    job: Job,
    folder: Path,
    record: dict[str, Any],
    loggers: list[Logger],
    last: Path | None,
    stop_on_signal: StopOnSignal,
) -> float | None:
    started_from = config["load_network_from_checkpoint"]
    callbacks = [instantiate(node) for node in (config["callbacks"] or {}).values() if node]
    job.check_monitors(callbacks)
    trainer = instantiate(
        config["trainer"],
        folder=folder,
        loggers=loggers,
        callbacks=[
            *_placed(callbacks, folder),
            ValidationLines(),
            RunRecord(record),
            RandomStates(),
            stop_on_signal,
        ],
    )

    if trainer.global_rank > 0:
        # The processes of a run begin with the same weights, but do not draw the same masks.
        torch.manual_seed(config["seed"] + trainer.global_rank)
    if started_from is not None:
        load_network(job.task, Path(started_from))
    if config["run_lr_range_test"] and last is None:
        run_range_test(job, config, folder)
    if config["fit_model"]:
        if last is not None:
            log.info(f"going on from step {read_checkpoint(last)['global_step']} ({last})")
        trainer.fit(job.task, job.data, ckpt_path=last)
    best = _best_checkpoint(trainer) if config["fit_model"] else None
    if config["eval_model"]:
        _test(trainer, job, best if config["fit_model"] else started_from, folder)
    elif best is not None and trainer.is_global_zero:
        untested = {"tested_checkpoint": None, "tested_step": None}
        write_metrics(folder, {**_dev_metrics(read_checkpoint(Path(best))), **untested})
    if trainer.is_global_zero:
        tell_outcome(loggers, write_report(folder), folder)
    if best is None:
        return None
    return float(read_checkpoint(Path(best))[RECORD_KEY]["metrics"][job.dev_metric])


def _num_steps_done(last: Path, config: dict[str, Any], config_name: str) -> int:
    """The step from which a run goes on, if it does so with the settings that it began with."""
    content = read_checkpoint(last)
    record = content[RECORD_KEY]
    check_same_settings(
        {"command": config_name, **config},
        {"command": record["config_name"], **record["config"]},
        last=last,
    )
    return int(content["global_step"])


def _test(trainer: pl.Trainer, job: Job, checkpoint: str | None, folder: Path) -> None:
    """Test a checkpoint, or the network as it is, and write down which and how well."""
    dev_metrics: dict[str, float] = {}
    step = trainer.global_step
    if checkpoint is not None:
        content = read_whole_checkpoint(Path(checkpoint))
        step = content["global_step"]
        dev_metrics = _dev_metrics(content)
    log.info(f"testing the network of step {step} ({checkpoint or 'not saved'})")
    _count_last_step(trainer)
    trainer.test(job.task, job.data, ckpt_path=checkpoint, verbose=False)
    if not trainer.is_global_zero:
        return  # All processes know the same, and one of them writes.
    test_metrics = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.startswith("test_")
    }
    write_test_outputs(folder, job.task)
    write_metrics(
        folder,
        {
            **dev_metrics,
            **test_metrics,
            "tested_checkpoint": None if checkpoint is None else str(checkpoint),
            "tested_step": step,
        },
    )


def _dev_metrics(content: dict[str, Any]) -> dict[str, float]:
    """Those of the validation at which a checkpoint was saved."""
    return {
        name: value
        for name, value in content[RECORD_KEY]["metrics"].items()
        if name.startswith("val_")
    }


def _count_last_step(trainer: pl.Trainer) -> None:
    """The place at which loggers write the test: the same where a run is killed during its test.

    Lightning counts the last step and its epoch after the validation that saves `last.ckpt`.
    """
    loop = trainer.fit_loop
    loop.epoch_loop._batches_that_stepped = trainer.global_step
    loop.epoch_progress.current.completed = loop.epoch_progress.current.ready


def _placed(callbacks: list[pl.Callback], folder: Path) -> list[pl.Callback]:
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder / CHECKPOINT_FOLDER)
    return callbacks


def _best_checkpoint(trainer: pl.Trainer) -> str | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback.best_model_path or None
    return None


def _quieten() -> None:
    """Silence what libraries say that no user of this project can act on."""
    from transformers.utils import logging as transformers_logging

    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*exists and is not empty.*",
        ".*in eval mode at the start of training.*",  # A frozen trunk is meant to be.
        ".*LeafSpec.*is deprecated.*",
        ".*IterableDataset.*",
        ".*sync_dist=True.*",  # What is logged of an evaluation was gathered from all processes.
        ".*`srun` command is available.*",  # A run outside of a job is meant to be one.
    ):
        warnings.filterwarnings("ignore", message=message)
