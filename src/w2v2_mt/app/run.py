"""Run one command: train, test the best checkpoint, write the results."""

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from transformers.utils import logging as transformers_logging

from w2v2_mt.app.build import Job, build_job
from w2v2_mt.app.loggers import open_loggers
from w2v2_mt.core.errors import OutputExistsError
from w2v2_mt.core.units import shortest_float32
from w2v2_mt.data.worker_resources import find_shortages
from w2v2_mt.inference.trained_network import load_trained
from w2v2_mt.report.run_report import print_run_report, write_report
from w2v2_mt.runs.evaluation_settings import evaluation_settings
from w2v2_mt.runs.folder_decision import Action, Command, SavedState, decide, read_contents
from w2v2_mt.runs.run_folder import CONFIG_FILE, RunFolder
from w2v2_mt.runs.run_record import (
    check_run_folder,
    remove_test_outputs,
    write_metrics,
    write_setting,
    write_test_outputs,
)
from w2v2_mt.settings.validation import ASSEMBLY, without_assembly
from w2v2_mt.training.callbacks.last_checkpoint import latest_checkpoint
from w2v2_mt.training.callbacks.monitors import SpeedMonitor
from w2v2_mt.training.callbacks.progress_lines import ProgressLines
from w2v2_mt.training.callbacks.run_state import RandomStates, RunRecord
from w2v2_mt.training.callbacks.stop_on_signal import StopOnSignal
from w2v2_mt.training.checkpoints import (
    RECORD_KEY,
    check_record,
    has_position,
    load_network,
    read_checkpoint,
    read_whole_checkpoint,
)
from w2v2_mt.training.launcher import count_processes
from w2v2_mt.training.lr_range_test import run_range_test
from w2v2_mt.training.speed_meter import SpeedMeter
from w2v2_mt.training.trainer import TrainerSettings, check_num_gpus, resolve_precision
from w2v2_mt.training.user_errors import user_errors

log = logging.getLogger(__name__)

_IGNORED_WARNINGS = (
    ".*does not have many workers.*",
    ".*exists and is not empty.*",
    ".*in eval mode at the start of training.*",  # A frozen encoder is meant to be.
    ".*LeafSpec.*is deprecated.*",
    ".*IterableDataset.*",
    ".*sync_dist=True.*",  # Evaluations gather their values from all processes before logging.
    ".*have overridden `on_before_batch_transfer`.*",  # The data have no such hook.
    ".*`srun` command is available.*",  # A run outside of a SLURM job is intended.
)


def run(
    config: dict[str, Any],
    *,
    config_name: str,
    folder: Path,
    overrides: Sequence[str],
    sweep: str | None = None,
    extra_callbacks: Sequence[pl.Callback] = (),
) -> float | None:
    """Train and test as the checked settings say, and write everything to `folder`.

    A run with a last checkpoint in its folder is resumed. Loggers group the jobs of a sweep by its
    name, `sweep`. The `extra_callbacks` come before those of the settings.

    Returns:
        The dev score of the best checkpoint; None if nothing was trained.

    Raises:
        ValueError: Settings, data or weights do not allow the run.
        SystemExit: A signal stopped the run after its state was saved.
    """
    # Silence messages of libraries that no user of this project can act on.
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in _IGNORED_WARNINGS:
        warnings.filterwarnings("ignore", message=message)
    config, assembly = without_assembly(config), config[ASSEMBLY]
    check_run_folder(folder)
    with StopOnSignal() as stop_on_signal:
        check_num_gpus(config["trainer"]["gpus"])
        saved = _read_saved_state(folder) if config["fit_model"] else None
        command = Command(config_name=config_name, config=config)
        decision = decide(command, read_contents(folder, saved=saved))
        if decision.action is Action.REFUSE:
            raise OutputExistsError(decision.reason)
        started_from, trained = config["load_network_from_checkpoint"], None
        if started_from is not None:
            read_checkpoint(Path(started_from))
            if not config["fit_model"]:
                trained = load_trained(Path(started_from))
                config = evaluation_settings(
                    config,
                    trained.config,
                    trained_by=trained.config_name,
                    config_name=config_name,
                    tasks=list(assembly["data"]),
                    trained_tasks=trained.tasks,
                    overrides=overrides,
                    checkpoint=Path(started_from),
                )

        pl.seed_everything(config["seed"], workers=True, verbose=False)
        log.info(f"{config['experiment_name']}: {folder}")
        if not (folder / CONFIG_FILE).exists():
            # From now on even a run that fails can be reported.
            write_setting(folder, config=config, overrides=overrides)
        job = build_job({**config, ASSEMBLY: assembly}, trained=trained)
        job = replace(job, trainer=_resolve_precision(job.trainer, saved))
        # Missing shards are reported now, those of the test not after days of training.
        demands = job.data.worker_demands(trains=config["fit_model"], tests=config["eval_model"])
        processes = count_processes(config)
        for sentence in find_shortages(demands, num_processes=processes.num_of_node):
            log.info(f"Note: {sentence}")
        if decision.removes_old_test:
            remove_test_outputs(folder)
        write_setting(folder, config=config, overrides=overrides)

        meter = SpeedMeter()
        callbacks = [
            *extra_callbacks,
            *job.callbacks,
            SpeedMonitor(
                meter,
                peak_tflops=job.trainer.peak_tflops,
                power_watts=job.trainer.power_watts,
            ),
            ProgressLines(
                meter=meter,
                training_data=job.training_metadata,
                interval_sec=job.trainer.progress_interval_sec,
                has_bar=job.trainer.enable_progress_bar and sys.stdout.isatty(),
            ),
            RunRecord(
                {
                    "config_name": config_name,
                    "config": config,
                    "precision": job.trainer.precision,
                    **job.network_record,
                }
            ),
            RandomStates(),
            stop_on_signal,
        ]
        num_steps_done = 0 if saved is None else saved.global_step
        with (
            user_errors(),
            open_loggers(
                config, folder, num_steps_done=num_steps_done, command=config_name, sweep=sweep
            ) as loggers,
        ):
            trainer = job.trainer.build(
                folder=folder, loggers=loggers, callbacks=callbacks, profiler=meter.loader_timer
            )
            best = _train(trainer, job, config, folder, saved, has_weights=trained is not None)
            dev_metrics = {} if best is None else _dev_metrics(read_checkpoint(Path(best)))
            if config["eval_model"]:
                trained_here = config["fit_model"]
                checkpoint = best if trained_here else started_from
                _test(trainer, job, folder, checkpoint, trained_here=trained_here)
            elif best is not None:
                untested = {"tested_checkpoint": None, "tested_step": None}
                write_metrics(folder, {**dev_metrics, **untested})
            if trainer.is_global_zero:
                finished, report = RunFolder(folder), write_report(folder)
                loggers[-1].log_report(report, finished)
                print_run_report(report, finished.metrics)
        return None if best is None else float(dev_metrics[job.dev_metric])


def _read_saved_state(folder: Path) -> SavedState | None:
    path = latest_checkpoint(folder)
    if path is None:
        return None
    content = read_checkpoint(path)
    return SavedState(
        path=path,
        global_step=int(content["global_step"]),
        config_name=content[RECORD_KEY]["config_name"],
        config=content[RECORD_KEY]["config"],
        precision=content[RECORD_KEY].get("precision"),
        has_position=has_position(content),
    )


def _resolve_precision(settings: TrainerSettings, saved: SavedState | None) -> TrainerSettings:
    """Return the settings with a precision other than `auto`, for a resumed run that it had."""
    earlier = None
    if saved is not None:
        # Before it was recorded, it was 32 bit on every CPU.
        earlier = saved.precision or (None if settings.gpus else "32-true")
    precision = resolve_precision(settings.precision, on_gpu=settings.gpus > 0, earlier=earlier)
    return replace(settings, precision=precision)


def _train(
    trainer: pl.Trainer,
    job: Job,
    config: dict[str, Any],
    folder: Path,
    saved: SavedState | None,
    *,
    has_weights: bool,
) -> str | None:
    """Load the weights to start from, unless the network has them already, and train.

    Returns:
        The path of the best checkpoint; None if nothing was trained or no checkpoint was kept.
    """
    if trainer.global_rank > 0:
        # All processes start with the same weights, but draw different masks.
        torch.manual_seed(config["seed"] + trainer.global_rank)
    if config["load_network_from_checkpoint"] is not None and not has_weights:
        check_record(Path(config["load_network_from_checkpoint"]), job.network_record)
        load_network(job.task, Path(config["load_network_from_checkpoint"]))
    if saved is not None:
        check_record(saved.path, job.network_record)
    if config["run_lr_range_test"] and saved is None:
        run_range_test(job.task, job.data, config, folder)
    if not config["fit_model"]:
        return None
    if job.trainer.compile:
        job.task.network.trunk.encoder.compile_layers()
    if saved is not None:
        log.info(f"resuming from step {saved.global_step} ({saved.path})")
    trainer.fit(job.task, job.data, ckpt_path=None if saved is None else saved.path)
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
            return callback.best_model_path or None
    return None


def _test(
    trainer: pl.Trainer, job: Job, folder: Path, checkpoint: str | None, *, trained_here: bool
) -> None:
    """Test a checkpoint, or the network as it is, and write the results."""
    metrics: dict[str, Any] = {}
    step = trainer.global_step
    if checkpoint is not None:
        content = read_whole_checkpoint(Path(checkpoint))
        step = content["global_step"]
        metrics = _dev_metrics(content)
    log.info(f"testing the network of step {step} ({checkpoint or 'not saved'})")
    # Loggers place the test at the last step and its epoch, which Lightning counts only after the
    # validation that saves `last.ckpt`: without this, a run that was killed during its test would
    # log it at another step. There is no public way to set these counters.
    loop = trainer.fit_loop
    loop.epoch_loop._batches_that_stepped = trainer.global_step
    loop.epoch_progress.current.completed = loop.epoch_progress.current.ready
    # A checkpoint that is only tested is loaded already, and may hold more tasks than the test.
    loaded_by_trainer = checkpoint if trained_here else None
    with closing(job.task.evaluation):
        trainer.test(job.task, job.data, ckpt_path=loaded_by_trainer, verbose=False)
    for name, value in trainer.callback_metrics.items():
        if name.startswith("test_"):
            number = float(value)
            metrics[name] = number if value.dtype == torch.float64 else shortest_float32(number)
    write_test_outputs(folder, job.task.evaluation.test_files())
    tested = {"tested_checkpoint": checkpoint, "tested_step": step}
    write_metrics(folder, {**metrics, **tested})


def _dev_metrics(content: dict[str, Any]) -> dict[str, float]:
    """Return the metrics of the validation after which a checkpoint was saved."""
    metrics = content[RECORD_KEY]["metrics"]
    # Lightning logs in float32.
    return {
        name: shortest_float32(value) for name, value in metrics.items() if name.startswith("val_")
    }
