"""LibriSpeech: its shards as batches for training, validation and test."""

import json
from collections import Counter
from functools import cached_property, partial
from pathlib import Path
from random import Random
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.letters import LetterStatistics
from w2v2_mt.data.loading import (
    SpeechLoading,
    evaluation_loader,
    rank_and_world_size,
    training_loader,
    training_position,
)
from w2v2_mt.data.shards import find_shards, read_shard_without_audio
from w2v2_mt.data.stages import AttachLetters, Decode, NormaliseWaveform, Stage, encoded_length
from w2v2_mt.data.streams import EvaluationStream, TrainingStream
from w2v2_mt.data.tokenizer import LetterTokenizer

_PRODUCER = "scripts/data/librispeech/produce_librispeech_shards.sh"
_NUM_SHARDS_SAMPLED = 8
"""Thousands of utterances, in a second."""


class LibriSpeechData(LightningDataModule):
    """Whole utterances of LibriSpeech with their letters, as `SpeechBatch`.

    `train_sets` are folders inside `shards_folder`; `val_sets` and `test_sets` map the name of a
    set, as it stands in metrics, to such a folder. Folders without shards are a ValueError when
    the dataloaders are made.
    """

    def __init__(
        self,
        *,
        shards_folder: str,
        train_sets: list[str],
        val_sets: dict[str, str],
        test_sets: dict[str, str],
        loading: SpeechLoading,
        normaliser: NormaliseWaveform,
        tokenizer: LetterTokenizer,
        seed: int,
    ) -> None:
        super().__init__()
        self.shards_folder = Path(shards_folder)
        self.train_sets = list(train_sets)
        self.val_sets = dict(val_sets)
        self.test_sets = dict(test_sets)
        self.loading = loading
        self.normaliser = normaliser
        self.tokenizer = tokenizer
        self.seed = seed
        self.num_batches_done = 0

    @cached_property
    def letter_statistics(self) -> LetterStatistics:
        """Of all training sets, from their meta.json."""
        num_samples = 0
        counts: Counter[int] = Counter()
        for folder in self.train_sets:
            facts = self._meta(folder)
            num_samples += facts["num_frames"]
            for character, count in facts["letter_counts"].items():
                counts[int(self.tokenizer.encode(character))] += count
        return LetterStatistics(
            counts=[counts[index] for index in range(self.tokenizer.num_letters)],
            blank_index=self.tokenizer.blank_index,
            num_samples=num_samples,
        )

    def sampled_lengths(self) -> list[int]:
        """The length, in audio samples, of each training utterance of a few drawn shards.

        Utterances are shuffled before shards are written, so that these stand for all. A function
        of the seed.
        """
        shards = self._train_shards()
        num_shards = min(_NUM_SHARDS_SAMPLED, len(shards))
        drawn = Random(f"{self.seed} lengths").sample(shards, num_shards)
        return [
            encoded_length(sample) for shard in drawn for sample in read_shard_without_audio(shard)
        ]

    def state_dict(self) -> dict[str, int]:
        return training_position(self)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.num_batches_done = state_dict["num_batches_done"]

    def train_dataloader(self) -> DataLoader[Any]:
        rank, world_size = rank_and_world_size(self)
        stream = TrainingStream(
            shards=self._train_shards(),
            shuffle_buffer_size=self.loading.max_queue_size,
            choosing=[],
            batching=self.loading.training_batches,
            decoding=self._stages(),
            collate=partial(SpeechBatch.collate, set_name="train"),
            seed=self.seed,
            num_batches_done=self.num_batches_done,
            rank=rank,
            world_size=world_size,
        )
        return training_loader(stream, self.loading)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """One dataloader for each of `val_sets`, in their order."""
        return self._evaluation_loaders(self.val_sets)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """One dataloader for each of `test_sets`, in their order."""
        return self._evaluation_loaders(self.test_sets)

    def _evaluation_loaders(self, sets: dict[str, str]) -> list[DataLoader[Any]]:
        rank, world_size = rank_and_world_size(self)
        streams = [
            EvaluationStream(
                shards=self._shards(folder),
                choosing=[],
                batching=self.loading.evaluation_batches,
                decoding=self._stages(),
                collate=partial(SpeechBatch.collate, set_name=set_name),
                only_keys=None,
                max_num_utterances=self.loading.max_eval_utterances,
                max_num_of_speaker=None,
                rank=rank,
                world_size=world_size,
            )
            for set_name, folder in sets.items()
        ]
        return [evaluation_loader(stream, self.loading) for stream in streams]

    def _stages(self) -> list[Stage]:
        return [Decode(), self.normaliser, AttachLetters(tokenizer=self.tokenizer)]

    def _meta(self, folder: str) -> dict[str, Any]:
        path = self.shards_folder / folder / "meta.json"
        if not path.is_file():
            raise ValueError(f"there is no {path}: run {_PRODUCER} or set DATA_FOLDER")
        facts = json.loads(path.read_text(encoding="utf-8"))
        for name in ("num_frames", "letter_counts"):
            if name not in facts:
                raise ValueError(
                    f"{path} has no {name}: run {_PRODUCER} again, or set "
                    "network.ctc_bias_init=zero"
                )
        return facts

    def _train_shards(self) -> list[Path]:
        return [shard for folder in self.train_sets for shard in self._shards(folder)]

    def _shards(self, folder: str) -> list[Path]:
        return find_shards(self.shards_folder / folder, producer=_PRODUCER)
