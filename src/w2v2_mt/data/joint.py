"""LibriSpeech and VoxCeleb side by side: one batch of each for a training step."""

from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.data.librispeech import LibriSpeechData
from w2v2_mt.data.loading import training_position
from w2v2_mt.data.voxceleb import VoxCelebData


class JointData(LightningDataModule):
    """The data of a multi-task run.

    A training step reads {"speech": SpeechBatch, "speaker": SpeakerBatch}; evaluation reads the
    sets of speech, then those of speaker. Where the selector of the speaker side has
    `match_speech_lengths`, it learns from the speech side how long its chunks have to be.
    """

    def __init__(self, *, speech: LibriSpeechData, speaker: VoxCelebData) -> None:
        super().__init__()
        self.speech = speech
        self.speaker = speaker

    def setup(self, stage: str) -> None:
        # Lightning tells only this module about the trainer, which knows rank and world size.
        self.speech.trainer = self.trainer
        self.speaker.trainer = self.trainer

    def state_dict(self) -> dict[str, int]:
        return training_position(self)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        # A step takes one batch of each.
        self.speech.load_state_dict(state_dict)
        self.speaker.load_state_dict(state_dict)

    def train_dataloader(self) -> dict[str, DataLoader[Any]]:
        if self.speaker.selector_train.match_speech_lengths:
            self.speaker.speech_lengths = self.speech.sampled_lengths()
        return {
            "speech": self.speech.train_dataloader(),
            "speaker": self.speaker.train_dataloader(),
        }

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [*self.speech.val_dataloader(), *self.speaker.val_dataloader()]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return [*self.speech.test_dataloader(), *self.speaker.test_dataloader()]
