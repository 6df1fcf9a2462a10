"""One or two tasks overfit ten utterances."""

from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from tests.helpers.joint_training import (
    TOKENIZER,
    small_optimization,
    small_speaker_objective,
    small_speech_objective,
)
from tests.helpers.shard_files import spoken, voice
from tests.helpers.small_networks import (
    save_architecture,
    small_multi_task_network,
    small_speaker_network,
    small_speech_network,
)
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.core.samples import SpeakerSample, SpeechSample
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.transforms import NormaliseWaveform
from w2v2_mt.tasks.training_task import TrainingTask

pytestmark = pytest.mark.filterwarnings("ignore:.*have no `val_dataloader`")

TRANSCRIPTIONS = "A TEA,NOON,HARD,MOON,QUIZ,A JUG,BAKE,NO TEA,FOX,A MOON".split(",")
NUM_SPEAKERS = 5
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
            tokens=TOKENIZER.encode(transcription),
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
    return NormaliseWaveform(eps=1e-7)(torch.from_numpy(waveform).float())


def overfit(network, objectives, *, train, val, num_steps, lr, folder):
    """Return the metrics of the ten utterances after `num_steps` steps on them."""
    task = TrainingTask(
        network=network,
        objectives=objectives,
        optimization=small_optimization(lr=lr, eps=1e-8),
    )
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
    train_loaders = {name: same([batch] * num_steps) for name, batch in train.items()}  # type: ignore[var-annotated]
    if len(train) == 1:
        (train_loaders,) = train_loaders.values()  # type: ignore[assignment]
    trainer.fit(task, train_loaders)
    trainer.validate(task, [same([batch]) for batch in val], verbose=False)
    return {name: float(value) for name, value in trainer.callback_metrics.items()}


def test_ten_utterances_are_transcribed_without_an_error(architecture, tmp_path):
    batch, objective = speech_batch(), small_speech_objective()
    metrics = overfit(
        small_speech_network(architecture),
        {"speech": objective},
        train={"speech": batch},
        val=[batch],
        num_steps=160,
        lr=3e-3,
        folder=tmp_path,
    )
    assert metrics["val_wer_clean"] == 0
    assert [row.hypothesis for row in objective.evaluation.transcripts["clean"]] == TRANSCRIPTIONS


def test_ten_utterances_are_assigned_to_their_speakers(architecture, tmp_path):
    batch = speaker_batch()
    metrics = overfit(
        small_speaker_network(architecture, num_speakers=NUM_SPEAKERS),
        {"speaker": small_speaker_objective(val_trials=TRIALS)},
        train={"speaker": batch},
        val=[batch],
        num_steps=40,
        lr=1e-3,
        folder=tmp_path,
    )
    assert metrics["val_speaker_acc"] == 1
    assert metrics["val_eer"] == 0


@pytest.mark.parametrize(
    "sharing",
    [{}, {"use_multi_branch_encoder": True, "num_shared_transformers": 1}],
    ids=["plain", "branched"],
)
def test_both_tasks_are_learned_at_once(architecture, tmp_path, sharing):
    speech, speaker = speech_batch(), speaker_batch()
    metrics = overfit(
        small_multi_task_network(architecture, num_speakers=NUM_SPEAKERS, **sharing),
        {
            "speech": small_speech_objective(),
            "speaker": small_speaker_objective(val_trials=TRIALS),
        },
        train={"speech": speech, "speaker": speaker},
        val=[speech, speaker],
        num_steps=160,
        lr=3e-3,
        folder=tmp_path,
    )
    assert metrics["val_wer_clean"] == 0
    assert metrics["val_speaker_acc"] == 1
    assert metrics["val_eer"] == metrics["val_score"] == 0
