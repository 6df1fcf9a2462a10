"""A small multi-task training on noise that tests build on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from tests.helpers.small_networks import small_multi_task_network
from w2v2_mt.core.batches import JointBatch, SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import JointSample, SpeakerSample, SpeechSample
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.losses.weighting import WEIGHTINGS, build_weighting
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.optim.optimizers import Adam
from w2v2_mt.optim.schedules import Constant
from w2v2_mt.tasks.objective import Objective
from w2v2_mt.tasks.optimization import OptimizationPlan
from w2v2_mt.tasks.speaker import SpeakerObjective
from w2v2_mt.tasks.speaker_evaluation import SpeakerEvaluation
from w2v2_mt.tasks.speech import SpeechObjective
from w2v2_mt.tasks.speech_evaluation import SpeechEvaluation
from w2v2_mt.tasks.training_task import TrainingTask

LR, WEIGHT_LR = 1e-3, 0.05
METHODS = [None, *WEIGHTINGS.names]
WEIGHTING_OPTIONS = {
    "static_speech_weight": 0.2,
    "dwa_weight_sum": 1.0,
    "dwa_temperature": 2.0,
    "dwa_window": 4,
    "weight_lr": WEIGHT_LR,
    "gradnorm_alpha": 1.5,
}
TOKENIZER = LetterTokenizer(vocabulary_path=None)


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
                tokens=torch.randint(4, 32, (4,), generator=generator),
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


COLLATE = {"speech": SpeechBatch.collate, "speaker": SpeakerBatch.collate}
BOTH, SPEECH, SPEAKER = ("speech", "speaker"), ("speech",), ("speaker",)


def joint_batch(labels: Sequence[Sequence[str]], *, first: int = 0) -> JointBatch:
    """A joint batch of noise with the tasks of the labels of each utterance, of two lengths.

    An utterance depends only on its number, which counts from `first`.
    """
    samples = []
    for number, tasks in enumerate(labels, start=first):
        generator = torch.Generator().manual_seed(number)
        key, waveform = str(number), torch.randn(4_000 + 2_000 * (number % 2), generator=generator)
        tokens = torch.randint(4, 32, (4,), generator=generator)
        speech = SpeechSample(key=key, waveform=waveform, transcription="A", tokens=tokens)
        speaker = SpeakerSample(
            key=key, waveform=waveform, speaker_id=str(number % 5), speaker_index=number % 5
        )
        labelled = {"speech": speech, "speaker": speaker}
        samples.append(
            JointSample(
                key=key,
                waveform=waveform,
                speaker_id=str(number % 5),
                labelled={task: labelled[task] for task in tasks},
            )
        )
    return JointBatch.collate(samples, set_name="train", collate=COLLATE)


def small_multi_task_loss(
    scale_method: str | None,
    comparison_interval: int | None = None,
    task_names: tuple[str, ...] = ("speech", "speaker"),
) -> MultiTaskLoss:
    return MultiTaskLoss(
        weighting=build_weighting(scale_method, task_names, WEIGHTING_OPTIONS),
        gradient_diagnostics_every_n_steps=comparison_interval,
    )


def small_speech_objective() -> SpeechObjective:
    return SpeechObjective(SpeechEvaluation(loss=CtcLoss(blank_index=0), tokenizer=TOKENIZER))


def small_speaker_objective(**changes: object) -> SpeakerObjective:
    return SpeakerObjective(small_speaker_evaluation(**changes))


def small_speaker_evaluation(**changes: object) -> SpeakerEvaluation:
    settings = {
        "loss": AamSoftmaxLoss(margin=0.2, scale=30.0),
        "val_trials": [],
        "test_trials": {},
        "normalisation": "none",
        "cohort_size": 2,
        "durations_sec": [],
        **changes,
    }
    return SpeakerEvaluation(**settings)


def small_objectives() -> dict[str, Objective]:
    return {"speech": small_speech_objective(), "speaker": small_speaker_objective()}


def small_optimization(*, lr: float = LR, eps: float = 1e-4) -> OptimizationPlan:
    return OptimizationPlan(
        optimizer=Adam(lr=lr, betas=(0.9, 0.98), eps=eps, weight_decay=0.0).build,
        schedule=Constant(),
        num_steps=1,
        monitor="val_score",
        num_batches_between_validations=1,
    )


def small_training_task(network: TaskNetwork, loss: MultiTaskLoss | None = None) -> TrainingTask:
    """A task that trains a network of the tasks speech and speaker."""
    return TrainingTask(
        network=network,
        objectives=small_objectives(),
        optimization=small_optimization(),
        loss=loss,
    )


def small_multi_task(
    architecture: str,
    *,
    scale_method: str | None,
    comparison_interval: int | None = None,
    **changes: object,
) -> TrainingTask:
    """Always with the same weights at first; `changes` are settings of the network."""
    torch.manual_seed(1)
    return small_training_task(
        small_multi_task_network(architecture, **changes),
        small_multi_task_loss(scale_method, comparison_interval),
    )


def fit(
    task: TrainingTask,
    batches: Sequence[dict[str, SpeechBatch | SpeakerBatch] | JointBatch],
    *,
    folder: Path,
    checkpoint: Path | None = None,
    **trainer_settings: object,
) -> pl.Trainer:
    """Train on these batches of each task, or joint batches, one after the other."""
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
    loaders: Any = DataLoader(batches, batch_size=None)
    if isinstance(batches[0], dict):
        loaders = {
            name: DataLoader([batch[name] for batch in batches], batch_size=None)
            for name in batches[0]
        }
    trainer.fit(task, loaders, ckpt_path=checkpoint)
    return trainer
