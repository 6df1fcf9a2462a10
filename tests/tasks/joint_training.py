"""A small multi-task training on noise that tests build on."""

from functools import partial
from pathlib import Path
from typing import get_args

import pytorch_lightning as pl
import torch
from small_networks import small_multi_task_network
from torch.utils.data import DataLoader

from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.losses.weighting import ScaleMethod
from w2v2_mt.optim.algorithms import adam
from w2v2_mt.optim.schedules import Constant
from w2v2_mt.tasks.base import Optimisation
from w2v2_mt.tasks.multi_task import MultiTask
from w2v2_mt.tasks.trial_scoring import TrialScoring

LR, WEIGHT_LR = 1e-3, 0.05
METHODS = [None, *get_args(ScaleMethod)]


def noise_batch(numbers: range) -> dict[str, SpeechBatch | SpeakerBatch]:
    """A batch of each task with the utterances that have these numbers."""
    speech, speakers = [], []
    for number in numbers:
        generator = torch.Generator().manual_seed(number)
        speech.append(
            SpeechSample(
                key=str(number),
                waveform=torch.randn(6_000, generator=generator),
                transcription="",
                letters=torch.randint(4, 32, (4,), generator=generator),
            )
        )
        speakers.append(
            SpeakerSample(
                key=str(number),
                waveform=torch.randn(4_000, generator=generator),
                speaker_id=str(number % 5),
                speaker_index=number % 5,
            )
        )
    return {
        "speech": SpeechBatch.collate(speech, set_name="train"),
        "speaker": SpeakerBatch.collate(speakers, set_name="train"),
    }


def small_multi_task_loss(
    scale_method: str | None, comparison_interval: int | None = None
) -> MultiTaskLoss:
    return MultiTaskLoss(
        ctc_loss=CtcLoss(blank_index=0),
        speaker_loss=AamSoftmaxLoss(margin=0.2, scale=30.0),
        scale_method=scale_method,
        static_speech_weight=0.2,
        dwa_weight_sum=1.0,
        dwa_temperature=2.0,
        dwa_window=4,
        weight_lr=WEIGHT_LR,
        gradnorm_alpha=1.5,
        gradient_diagnostics_every_n_steps=comparison_interval,
    )


COSINES = TrialScoring(normalisation="none", cohort_size=2, durations_sec=[])


def small_multi_task(
    architecture: str,
    *,
    scale_method: str | None,
    comparison_interval: int | None = None,
    **changes: object,
) -> MultiTask:
    """Always with the same weights at first; `changes` are settings of the network."""
    torch.manual_seed(1)
    return MultiTask(
        network=small_multi_task_network(architecture, **changes),
        loss=small_multi_task_loss(scale_method, comparison_interval),
        tokenizer=LetterTokenizer(vocabulary_path=None),
        val_trials=[],
        test_trials={},
        trial_scoring=COSINES,
        optimisation=Optimisation(
            algorithm=partial(adam, lr=LR, betas=[0.9, 0.98], eps=1e-4, weight_decay=0.0),
            schedule=Constant(),
            num_steps=1,
            monitor="val_score",
            num_batches_between_validations=1,
        ),
    )


def fit(
    task: MultiTask,
    batches: list[dict[str, SpeechBatch | SpeakerBatch]],
    *,
    folder: Path,
    checkpoint: Path | None = None,
    **trainer_settings: object,
) -> pl.Trainer:
    """Train on these pairs of batches, one after the other."""
    trainer = pl.Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 1,
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            **trainer_settings,
        }
    )
    loaders = {
        name: DataLoader([batch[name] for batch in batches], batch_size=None)
        for name in ("speech", "speaker")
    }
    trainer.fit(task, loaders, ckpt_path=checkpoint)
    return trainer
