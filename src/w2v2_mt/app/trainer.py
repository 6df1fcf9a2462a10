"""The Lightning Trainer of a run, from the settings of the `trainer` config group."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import RichProgressBar
from pytorch_lightning.loggers import Logger
from pytorch_lightning.strategies import DDPStrategy

from w2v2_mt.app.non_finite import NonFiniteLosses
from w2v2_mt.app.process_group import Processes, is_started_here
from w2v2_mt.app.saving import WholeFiles
from w2v2_mt.core.constraints import NonNegativeInt, PositiveFloat, PositiveInt

Precision = Literal["auto", "32-true", "16-mixed", "bf16-mixed"]


def resolved_precision(
    precision: Precision, *, on_gpu: bool
) -> Literal["32-true", "16-mixed", "bf16-mixed"]:
    """`auto` is bf16 where a GPU has it, fp16 on other GPUs and 32 bit on a CPU."""
    if precision != "auto":
        return precision
    if not on_gpu:
        return "32-true"
    # Older GPUs emulate bf16, more slowly than they compute fp16.
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has_bf16 else "16-mixed"


def build_trainer(
    *,
    max_steps: PositiveInt,
    step_limit: PositiveInt | None,
    val_check_interval: PositiveInt,
    accumulate_grad_batches: PositiveInt,
    log_every_n_steps: PositiveInt,
    gradient_clip_val: PositiveFloat | None,
    skip_non_finite: bool,
    overfit_batches: PositiveInt | None,
    precision: Precision,
    gpus: NonNegativeInt,
    devices: PositiveInt | None,
    num_nodes: PositiveInt,
    strategy: Literal["auto", "ddp"],
    enable_progress_bar: bool,
    folder: Path,
    loggers: Sequence[Logger],
    callbacks: Sequence[pl.Callback],
) -> pl.Trainer:
    """A Trainer that counts optimiser steps, whatever the number of batches in one.

    Raises:
        ValueError: more GPUs are asked for than there are.
    """
    num_gpus = torch.cuda.device_count()
    if gpus > num_gpus:
        raise ValueError(
            f"gpus={gpus}, but this machine has {num_gpus}; set gpus={num_gpus} or NUM_GPUS."
        )
    processes = Processes.of_settings(gpus=gpus, devices=devices, num_nodes=num_nodes)
    num_steps = max_steps if step_limit is None else min(max_steps, step_limit)
    # Into a file, a bar would write its last state over and over.
    shows_bar = enable_progress_bar and sys.stdout.isatty()
    bar = [RichProgressBar()] if shows_bar else []
    # The launcher queues a job again (stopping.py); Lightning would do it a second time.
    environments: list[ClusterEnvironment] = (
        [SLURMEnvironment(auto_requeue=False)] if SLURMEnvironment.detect() else []
    )
    if is_started_here(os.environ):
        environments = [LightningEnvironment()]
    return pl.Trainer(
        default_root_dir=folder,
        accelerator="gpu" if gpus else "cpu",
        devices=processes.num_of_node,
        num_nodes=num_nodes,
        strategy=(
            # Frozen parts and dropped layers leave parameters without a gradient.
            DDPStrategy(
                find_unused_parameters=True, process_group_backend="nccl" if gpus else "gloo"
            )
            if strategy == "ddp" or processes.num_of_node * num_nodes > 1
            else "auto"
        ),
        # The streams share out the data themselves.
        use_distributed_sampler=False,
        precision=resolved_precision(precision, on_gpu=gpus > 0),
        max_steps=num_steps,
        max_epochs=-1,
        # The training stream never ends, so validations are counted in batches.
        check_val_every_n_epoch=None,
        val_check_interval=min(val_check_interval, num_steps) * accumulate_grad_batches,
        # A stream that is read anew begins with the same batches.
        limit_train_batches=overfit_batches,
        # A check on part of the validation set would miss utterances that trials name.
        num_sanity_val_steps=0,
        accumulate_grad_batches=accumulate_grad_batches,
        log_every_n_steps=log_every_n_steps,
        gradient_clip_val=gradient_clip_val,
        logger=list(loggers),
        plugins=[WholeFiles(), *environments],
        # First, so that no other one saves what a loss has spoiled.
        callbacks=[NonFiniteLosses(folder=folder, skip=skip_non_finite), *callbacks, *bar],
        enable_progress_bar=shows_bar,
        enable_model_summary=False,
        enable_checkpointing=any(
            isinstance(callback, pl.callbacks.Checkpoint) for callback in callbacks
        ),
    )
