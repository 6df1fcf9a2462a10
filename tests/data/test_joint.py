from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning import LightningModule, Trainer

from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.data.joint import JointData
from w2v2_mt.data.librispeech import LibriSpeechData
from w2v2_mt.data.voxceleb import VoxCelebData


class _Recorder(LightningModule):
    """Writes down what a trainer hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.train_batches: list[Any] = []
        self.val_sets: list[tuple[int, str]] = []
        self.test_sets: list[tuple[int, str]] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        self.train_batches.append(batch)
        return self.weight * 1.0

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.val_sets.append((dataloader_idx, batch.set_name))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.test_sets.append((dataloader_idx, batch.set_name))


@pytest.fixture
def joint(
    librispeech: Callable[..., LibriSpeechData], voxceleb: Callable[..., VoxCelebData]
) -> JointData:
    return JointData(speech=librispeech(), speaker=voxceleb())


def test_a_trainer_hands_out_one_batch_of_each_task_and_all_evaluation_sets(
    joint: JointData, tmp_path: Path
) -> None:
    recorder = _Recorder()
    trainer = Trainer(
        accelerator="cpu",
        max_steps=40,
        max_epochs=-1,
        val_check_interval=20,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    trainer.fit(recorder, datamodule=joint)
    # 24 utterances of each task: many epochs go by without the trainer seeing an end.
    assert len(recorder.train_batches) == 40
    for batch in recorder.train_batches:
        assert batch.keys() == {"speech", "speaker"}
        assert isinstance(batch["speech"], SpeechBatch)
        assert isinstance(batch["speaker"], SpeakerBatch)
    validation = [*3 * [(0, "clean")], *3 * [(1, "other")], *2 * [(2, "val")]]
    assert recorder.val_sets == 2 * validation
    trainer.test(recorder, datamodule=joint)
    assert dict(recorder.test_sets) == {0: "clean", 1: "other", 2: "test"}


def test_both_parts_know_the_trainer(joint: JointData) -> None:
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    joint.trainer = trainer
    joint.setup("fit")
    assert joint.speech.trainer is joint.speaker.trainer is trainer


def test_the_speech_of_a_joint_run_is_that_of_a_speech_run(
    joint: JointData, librispeech: Callable[..., LibriSpeechData]
) -> None:
    alone = next(iter(librispeech().train_dataloader()))
    together = next(iter(joint.train_dataloader()["speech"]))
    assert alone.keys == together.keys
