"""VoxCeleb: its shards as batches for training, validation and test, and its trials."""

import json
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.core.trials import Trial
from w2v2_mt.data.loading import (
    SpeakerLoading,
    evaluation_loader,
    rank_and_world_size,
    training_loader,
    training_position,
)
from w2v2_mt.data.shards import find_shards
from w2v2_mt.data.stages import (
    AttachSpeaker,
    ChunkSelector,
    Decode,
    KeepBeginning,
    NormaliseWaveform,
    SelectChunks,
    Stage,
)
from w2v2_mt.data.streams import EvaluationStream, TrainingStream
from w2v2_mt.data.trials import keys_of_trials, limited_trials, read_trials

_PRODUCER = (
    "scripts/data/voxceleb/produce_vox1_train_val_test.sh "
    "(VoxCeleb2: produce_vox2_train_val_test3.sh)"
)
VAL_SET, TEST_SET, COHORT_SET = "val", "test", "cohort"
"""Names of the sets of batches in evaluation; those of beginnings are `limited_test_set`."""


def duration_name(duration_sec: float) -> str:
    """As in the names of metrics and files: 2s, 2.5s."""
    return f"{duration_sec:g}s"


def limited_test_set(duration_sec: float) -> str:
    """The set of the first so many seconds of those test utterances that are longer."""
    return f"{TEST_SET}_{duration_name(duration_sec)}"


class VoxCelebData(LightningDataModule):
    """Chunks for training, whole utterances for evaluation, as `SpeakerBatch`.

    Folders and trial lists are relative to `shards_folder`, or absolute. `test_sets` and
    `test_trials` map the name of a test, as it stands in metrics, to its folder and its trials;
    the trials of the validation set are tested too, as "val". Missing shards and trial lists are a
    ValueError when the dataloaders are made.

    `test_durations_sec` asks for the first so many seconds of the test utterances as well.
    `num_cohort_utterances` of each training speaker, at most, are read for the test whole; None:
    no training shards are read for it.

    `speech_lengths`, which a multi-task run sets, are the lengths in samples that chunks for
    training have where `selector_train.match_speech_lengths`. A batch then holds no more samples
    than one of equal chunks would.
    """

    speech_lengths: Sequence[int] | None

    def __init__(
        self,
        *,
        shards_folder: str,
        train_set: str,
        val_set: str,
        val_trials: str,
        test_sets: dict[str, str],
        test_trials: dict[str, str],
        loading: SpeakerLoading,
        selector_train: ChunkSelector,
        normaliser: NormaliseWaveform,
        test_durations_sec: list[float],
        num_cohort_utterances: int | None,
        seed: int,
    ) -> None:
        super().__init__()
        if set(test_sets) != set(test_trials) or VAL_SET in test_sets:
            raise ValueError(
                f"test_sets names {sorted(test_sets)} and test_trials {sorted(test_trials)}: "
                f"give both the same names, other than {VAL_SET!r}"
            )
        self.shards_folder = Path(shards_folder)
        self.train_set = train_set
        self.val_set = val_set
        self.val_trials = val_trials
        self.test_sets = dict(test_sets)
        self.test_trials = dict(test_trials)
        self.loading = loading
        self.selector_train = selector_train
        self.normaliser = normaliser
        self.test_durations_sec = list(test_durations_sec)
        self.num_cohort_utterances = num_cohort_utterances
        self.seed = seed
        self.speech_lengths = None
        self.num_batches_done = 0

    @cached_property
    def num_speakers(self) -> int:
        """The number of speakers of the training set, from its meta.json."""
        path = self.shards_folder / self.train_set / "meta.json"
        if not path.is_file():
            raise ValueError(f"there is no {path}: run {_PRODUCER} or set DATA_FOLDER")
        num_speakers = json.loads(path.read_text(encoding="utf-8")).get("num_speakers")
        if num_speakers is None:
            raise ValueError(f"{path} has no num_speakers: run {_PRODUCER} again")
        return num_speakers

    @cached_property
    def val_trial_lists(self) -> dict[str, list[Trial]]:
        """The trials of validation, as "val"."""
        return {VAL_SET: self._trials(self.val_trials)}

    @cached_property
    def test_trial_lists(self) -> dict[str, list[Trial]]:
        """The trials of each test set by its name, and those of validation as "val"."""
        tests = {name: self._trials(path) for name, path in self.test_trials.items()}
        return tests | self.val_trial_lists

    def state_dict(self) -> dict[str, int]:
        return training_position(self)

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.num_batches_done = state_dict["num_batches_done"]

    def train_dataloader(self) -> DataLoader[Any]:
        rank, world_size = rank_and_world_size(self)
        selector, batching = self._training_chunks()
        stream = TrainingStream(
            shards=self._shards(self.train_set),
            shuffle_buffer_size=self.loading.shuffle_queue_size,
            choosing=[
                SelectChunks(selector=selector, shuffle_buffer_size=self.loading.shuffle_queue_size)
            ],
            batching=batching,
            decoding=self._stages(is_training=True),
            collate=partial(SpeakerBatch.collate, set_name="train"),
            seed=self.seed,
            num_batches_done=self.num_batches_done,
            rank=rank,
            world_size=world_size,
        )
        return training_loader(stream, self.loading)

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """One dataloader over the validation set; with `max_eval_trials`, what its trials name."""
        named_keys = keys_of_trials(self.val_trial_lists[VAL_SET])
        only_keys = None if self.loading.max_eval_trials is None else named_keys
        shards = self._shards(self.val_set)
        return [self._evaluation_loader(shards, set_name=VAL_SET, only_keys=only_keys)]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """TEST_SET, each utterance of `test_trial_lists` once, its beginnings, and COHORT_SET.

        The lists share utterances, and so do their folders. Beginnings are those of the longer
        utterances: whole ones stand for themselves.
        """
        trials = (trial for trials in self.test_trial_lists.values() for trial in trials)
        only_keys = keys_of_trials(trials)
        folders = dict.fromkeys([*self.test_sets.values(), self.val_set])
        # Tests that share utterances share shards: their folders link to the same files.
        shards = list(
            dict.fromkeys(shard.resolve() for folder in folders for shard in self._shards(folder))
        )
        loaders = [self._evaluation_loader(shards, set_name=TEST_SET, only_keys=only_keys)]
        for duration_sec in dict.fromkeys(self.test_durations_sec):
            loaders.append(
                self._evaluation_loader(
                    shards,
                    set_name=limited_test_set(duration_sec),
                    only_keys=only_keys,
                    choosing=[KeepBeginning(duration_sec=duration_sec)],
                )
            )
        if self.num_cohort_utterances is not None:
            loaders.append(
                self._evaluation_loader(
                    self._cohort_shards(),
                    set_name=COHORT_SET,
                    only_keys=None,
                    max_num_of_speaker=self.num_cohort_utterances,
                )
            )
        return loaders

    def _cohort_shards(self) -> list[Path]:
        try:
            return self._shards(self.train_set)
        except ValueError as error:
            raise ValueError(
                f"the cohort of speakers for normalised scores comes from training shards, but "
                f"{error}, or set evaluation.score_normalisation=none"
            ) from error

    def _training_chunks(self) -> tuple[ChunkSelector, Stage]:
        """What cuts chunks, and what makes batches of them."""
        if not self.selector_train.match_speech_lengths:
            return self.selector_train, self.loading.training_batches
        assert self.speech_lengths is not None
        max_num_samples = self.loading.train_batch_size * self.selector_train.num_chunk_samples
        if max(self.speech_lengths) > max_num_samples:
            raise ValueError(
                f"there is speech of {max(self.speech_lengths)} samples, more than a speaker batch "
                f"holds ({max_num_samples}, train_batch_size x desired_chunk_length_sec): raise "
                "speaker.dataloader.train_batch_size or set "
                "speaker.pipeline.selector_train.match_speech_lengths=false"
            )
        return (
            self.selector_train.with_drawn_lengths(self.speech_lengths),
            partial(self.loading.training_batches_by_length, max_num_samples=max_num_samples),
        )

    def _evaluation_loader(
        self,
        shards: list[Path],
        *,
        set_name: str,
        only_keys: frozenset[str] | None,
        choosing: Sequence[Stage] = (),
        max_num_of_speaker: int | None = None,
    ) -> DataLoader[Any]:
        rank, world_size = rank_and_world_size(self)
        stream = EvaluationStream(
            shards=shards,
            choosing=choosing,
            batching=self.loading.evaluation_batches,
            decoding=self._stages(is_training=False),
            collate=partial(SpeakerBatch.collate, set_name=set_name),
            only_keys=only_keys,
            max_num_utterances=None,
            max_num_of_speaker=max_num_of_speaker,
            rank=rank,
            world_size=world_size,
        )
        return evaluation_loader(stream, self.loading)

    def _stages(self, *, is_training: bool) -> list[Stage]:
        return [Decode(), self.normaliser, AttachSpeaker(is_training=is_training)]

    def _shards(self, folder: str) -> list[Path]:
        return find_shards(self.shards_folder / folder, producer=_PRODUCER)

    def _trials(self, path: str) -> list[Trial]:
        trials = read_trials(self.shards_folder / path, producer=_PRODUCER)
        if len({trial.same_speaker for trial in trials}) < 2:
            raise ValueError(
                f"all {len(trials)} trials in {self.shards_folder / path} have the label "
                f"{int(trials[0].same_speaker)}, but an equal error rate needs both 1 (same "
                "speaker) and 0; add trials of the other kind."
            )
        if self.loading.max_eval_trials is None:
            return trials
        return limited_trials(trials, self.loading.max_eval_trials)
