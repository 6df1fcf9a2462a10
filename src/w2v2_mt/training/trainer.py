"""Settings of the `trainer` config group, from which the Lightning Trainer of a run is built."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import Strategy

from w2v2_mt.core.constraints import NonNegativeInt, PositiveFloat, PositiveInt
from w2v2_mt.training.callbacks.nonfinite_losses import NonFiniteLosses
from w2v2_mt.training.checkpoints import AtomicCheckpointIO
from w2v2_mt.training.launcher import Launcher, Processes, find_launcher
from w2v2_mt.training.process_group import TimelyDDPStrategy

ResolvedPrecision = Literal["32-true", "16-mixed", "bf16-mixed"]
Precision = Literal["auto", ResolvedPrecision]


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """The settings of a Trainer, described in `config/trainer/trainer.yaml`.

    They count optimizer steps, whatever the number of batches in one.
    """

    max_steps: PositiveInt
    step_limit: PositiveInt | None
    val_check_interval: PositiveInt
    accumulate_grad_batches: PositiveInt
    pack_tasks: bool
    log_every_n_steps: PositiveInt
    gradient_clip_val: PositiveFloat | None
    skip_non_finite: bool
    overfit_batches: PositiveInt | None
    precision: Precision
    test_precision: Literal["training"] | None
    gpus: NonNegativeInt
    devices: PositiveInt | None
    num_nodes: PositiveInt
    strategy: Literal["auto", "ddp"]
    rendezvous_timeout_sec: PositiveFloat
    enable_progress_bar: bool
    progress_interval_sec: PositiveFloat
    compile: bool
    peak_tflops: PositiveFloat | None
    power_watts: PositiveFloat | None

    def __post_init__(self) -> None:
        """Raise a ValueError if the last steps would not be validated, or devices are not GPUs."""
        # With a limit, the run is validated at its end, or is meant to be continued.
        is_one_part = self.step_limit is not None and self.step_limit <= self.val_check_interval
        is_short = is_one_part or self.max_steps <= self.val_check_interval
        if not is_short and self.max_steps % self.val_check_interval:
            raise ValueError(
                f"trainer.max_steps ({self.max_steps}) must be a multiple of "
                f"trainer.val_check_interval ({self.val_check_interval}). Change one of the two."
            )
        if self.gpus and self.devices not in (None, self.gpus):
            raise ValueError(
                f"trainer.devices ({self.devices}) must be null or the number of GPUs "
                f"({self.gpus}). Set trainer.devices=null."
            )

    def build(
        self,
        *,
        folder: Path,
        loggers: Sequence[Logger],
        callbacks: Sequence[pl.Callback],
        profiler: Profiler | None,
    ) -> pl.Trainer:
        """Build the Trainer of a run."""
        num_steps = min(self.max_steps, self.step_limit or self.max_steps)
        processes = Processes(gpus=self.gpus, devices=self.devices, num_nodes=self.num_nodes)
        strategy: Strategy | Literal["auto"] = "auto"
        if self.strategy == "ddp" or processes.num_in_all > 1:
            # Frozen modules and dropped layers leave parameters without a gradient.
            strategy = TimelyDDPStrategy(
                rendezvous_timeout_sec=self.rendezvous_timeout_sec,
                find_unused_parameters=True,
                process_group_backend="nccl" if self.gpus else "gloo",
            )
        plugins: list[Any] = [AtomicCheckpointIO()]
        if find_launcher(processes, os.environ) is Launcher.SRUN:
            # The launcher requeues a job (stop_on_signal.py); Lightning would do it a second time.
            plugins.append(SLURMEnvironment(auto_requeue=False))
        else:
            # It takes the ranks from the variables of torchrun, if they are there.
            plugins.append(LightningEnvironment())
        precision = resolve_precision(self.precision, on_gpu=self.gpus > 0)
        without_plugin: ResolvedPrecision | None = precision
        if precision != "32-true" and self.test_precision is None:
            plugins.append(_TestInFloat32(precision, "cuda" if self.gpus else "cpu"))
            without_plugin = None  # Lightning takes a plugin or a precision.
        return pl.Trainer(
            default_root_dir=folder,
            accelerator="gpu" if self.gpus else "cpu",
            devices=processes.num_of_node,
            num_nodes=self.num_nodes,
            strategy=strategy,
            # The data pipeline splits the data among processes itself.
            use_distributed_sampler=False,
            precision=without_plugin,
            max_steps=num_steps,
            max_epochs=-1,
            # The training data never ends, so validations are counted in batches.
            check_val_every_n_epoch=None,
            val_check_interval=min(self.val_check_interval, num_steps)
            * self.accumulate_grad_batches,
            # A data pipeline that is restarted yields the same batches again.
            limit_train_batches=self.overfit_batches,
            # A sanity check on part of the validation set would miss utterances of the trials.
            num_sanity_val_steps=0,
            accumulate_grad_batches=self.accumulate_grad_batches,
            log_every_n_steps=self.log_every_n_steps,
            gradient_clip_val=self.gradient_clip_val,
            logger=list(loggers),
            profiler=profiler,
            plugins=plugins,
            # The first one, so that no other callback saves a state after a non-finite loss.
            callbacks=[NonFiniteLosses(skip=self.skip_non_finite), *callbacks],
            enable_progress_bar=False,  # That of Lightning counts epochs; ProgressLines has one.
            enable_model_summary=False,
            enable_checkpointing=any(isinstance(each, Checkpoint) for each in callbacks),
        )


class _TestInFloat32(MixedPrecision):
    """Mixed precision in training and validation, where weights stay in float32, not in tests."""

    def test_step_context(self) -> AbstractContextManager[Any]:  # type: ignore[override]
        return nullcontext()


def check_num_gpus(gpus: int) -> None:
    """Raise a ValueError if this machine has fewer GPUs."""
    num_gpus = torch.cuda.device_count()
    if gpus > num_gpus:
        raise ValueError(
            f"gpus={gpus}, but this machine has {num_gpus}. Set gpus={num_gpus} or NUM_GPUS."
        )


def resolve_precision(
    precision: Precision, *, on_gpu: bool, earlier: str | None = None
) -> ResolvedPrecision:
    """Resolve `auto` to bf16 where the device computes in it, else to fp16 on a GPU or 32 bit.

    A resumed run keeps what `auto` was `earlier`, but for fp16, which a CPU does not have.
    """
    if precision != "auto":
        return precision
    if earlier == "32-true":
        return "32-true"
    if earlier == "bf16-mixed":
        return "bf16-mixed"
    if not on_gpu:
        capabilities = torch.cpu.get_capabilities()
        has_bf16 = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))
        return "bf16-mixed" if has_bf16 else "32-true"
    # Older GPUs emulate bf16, which is slower than fp16.
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if has_bf16 else "16-mixed"
