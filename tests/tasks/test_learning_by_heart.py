"""Ten utterances are learned by heart by each of the three tasks."""

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from small_networks import (
    save_architecture,
    small_multi_task_network,
    small_speaker_network,
    small_speech_network,
)
from torch.utils.data import DataLoader

from tests.data.shard_files import spoken, voice
from tests.tasks.joint_training import COSINES
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.stages import NormaliseWaveform
from w2v2_mt.data.tokenizer import LetterTokenizer
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.optim.algorithms import adam
from w2v2_mt.optim.schedules import Constant
from w2v2_mt.tasks.base import Optimisation
from w2v2_mt.tasks.multi_task import MultiTask
from w2v2_mt.tasks.speaker import SpeakerTask
from w2v2_mt.tasks.speech import SpeechTask

pytestmark = pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")

TRANSCRIPTIONS = "A TEA,NOON,HARD,MOON,QUIZ,A JUG,BAKE,NO TEA,FOX,A MOON".split(",")
NUM_SPEAKERS = 5
TOKENIZER = LetterTokenizer(vocabulary_path=None)
TRIALS = [
    Trial(left % NUM_SPEAKERS == right % NUM_SPEAKERS, str(left), str(right))
    for left in range(10)
    for right in range(left)
]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(3)


@pytest.fixture
def architecture(tmp_path):
    """A wav2vec2 of two narrow layers, with a frame each 20 ms."""
    return save_architecture(
        str(tmp_path),
        "large",
        hidden_size=64,
        num_hidden_layers=2,
        intermediate_size=128,
        conv_dim=[32] * 5,
        conv_kernel=[20, 8, 4, 4, 2],
        conv_stride=[10, 4, 2, 2, 2],
        num_feat_extract_layers=5,
    )


def speech_batch():
    rng = np.random.default_rng(0)
    samples = [
        SpeechSample(
            key=str(number),
            waveform=normalised(spoken(transcription, rng)),
            transcription=transcription,
            letters=TOKENIZER.encode(transcription),
        )
        for number, transcription in enumerate(TRANSCRIPTIONS)
    ]
    return SpeechBatch.collate(samples, set_name="clean")


def speaker_batch():
    rng = np.random.default_rng(0)
    samples = [
        SpeakerSample(
            key=str(number),
            waveform=normalised(voice(number % NUM_SPEAKERS, 4_000 + 300 * number, rng)),
            speaker_id=f"id{number % NUM_SPEAKERS}",
            speaker_index=number % NUM_SPEAKERS,
        )
        for number in range(10)
    ]
    return SpeakerBatch.collate(samples, set_name="val")


def normalised(waveform):
    return NormaliseWaveform(eps=1e-7).normalised(torch.from_numpy(waveform).float())


def optimisation(*, lr, monitor):
    algorithm = partial(adam, lr=lr, betas=[0.9, 0.98], eps=1e-8, weight_decay=0.0)
    return Optimisation(
        algorithm=algorithm,
        schedule=Constant(),
        num_steps=1,
        monitor=monitor,
        num_batches_between_validations=1,
    )


def learned(task, *, train, val, num_steps, folder):
    """What is measured of the ten utterances after so many steps on them."""
    trainer = pl.Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_steps=num_steps,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    same = partial(DataLoader, batch_size=None)
    train_loaders = {name: same([batch] * num_steps) for name, batch in train.items()}
    if len(train) == 1:
        (train_loaders,) = train_loaders.values()
    trainer.fit(task, train_loaders)
    trainer.validate(task, [same([batch]) for batch in val], verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_ten_utterances_are_transcribed_without_an_error(architecture, tmp_path):
    task = SpeechTask(
        network=small_speech_network(architecture),
        loss=CtcLoss(blank_index=TOKENIZER.blank_index),
        tokenizer=TOKENIZER,
        optimisation=optimisation(lr=3e-3, monitor="val_wer_clean"),
    )
    batch = speech_batch()
    metrics = learned(task, train={"speech": batch}, val=[batch], num_steps=160, folder=tmp_path)
    assert metrics["val_wer_clean"] == 0
    assert [row.hypothesis for row in task.speech_evaluation.transcripts["clean"]] == TRANSCRIPTIONS


def test_ten_utterances_are_given_to_their_speakers(architecture, tmp_path):
    task = SpeakerTask(
        network=small_speaker_network(architecture, num_speakers=NUM_SPEAKERS),
        loss=AamSoftmaxLoss(margin=0.2, scale=30.0),
        val_trials=TRIALS,
        test_trials={"val": TRIALS},
        trial_scoring=COSINES,
        optimisation=optimisation(lr=1e-3, monitor="val_eer"),
    )
    batch = speaker_batch()
    metrics = learned(task, train={"speaker": batch}, val=[batch], num_steps=40, folder=tmp_path)
    assert metrics["val_speaker_acc"] == 1
    assert metrics["val_eer"] == 0


@pytest.mark.parametrize(
    "sharing",
    [{}, {"use_multi_branch_encoder": True, "num_shared_transformers": 1}],
    ids=["plain", "branched"],
)
def test_both_tasks_are_learned_at_once(architecture, tmp_path, sharing):
    task = MultiTask(
        network=small_multi_task_network(architecture, num_speakers=NUM_SPEAKERS, **sharing),
        loss=MultiTaskLoss(
            ctc_loss=CtcLoss(blank_index=TOKENIZER.blank_index),
            speaker_loss=AamSoftmaxLoss(margin=0.2, scale=30.0),
            scale_method=None,
            static_speech_weight=0.5,
            dwa_weight_sum=1.0,
            dwa_temperature=2.0,
            dwa_window=100,
            weight_lr=0.001,
            gradnorm_alpha=1.5,
            gradient_diagnostics_every_n_steps=None,
        ),
        tokenizer=TOKENIZER,
        val_trials=TRIALS,
        test_trials={"val": TRIALS},
        trial_scoring=COSINES,
        optimisation=optimisation(lr=3e-3, monitor="val_score"),
    )
    speech, speaker = speech_batch(), speaker_batch()
    train = {"speech": speech, "speaker": speaker}
    metrics = learned(task, train=train, val=[speech, speaker], num_steps=160, folder=tmp_path)
    assert metrics["val_wer_clean"] == 0
    assert metrics["val_speaker_acc"] == 1
    assert metrics["val_eer"] == metrics["val_score"] == 0
