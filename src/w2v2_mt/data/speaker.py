"""Data of speaker recognition: chunks or whole utterances from shards, and lists of trials."""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from w2v2_mt.core.batches import SpeakerBatch
from w2v2_mt.core.constraints import PositiveFloat, PositiveInt
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.text_files import read_text, split_lines
from w2v2_mt.core.trials import ScoreNormalisation, Trial
from w2v2_mt.core.units import samples_from_seconds
from w2v2_mt.data.batching import dynamic_batches, equal_size_batches
from w2v2_mt.data.encoded_audio import sample_length
from w2v2_mt.data.loading import Corpus, SpeakerLoading, TaskData
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.transforms import (
    ChunkSelector,
    NormaliseWaveform,
    Stage,
    keep_beginnings,
    make_speaker_sample,
    select_chunks,
)
from w2v2_mt.data.trials import keys_of_trials, limit_trials, read_trials

VAL_SET, TEST_SET, COHORT_SET = "val", "test", "cohort"
"""Names of the sets of batches in evaluation; `beginnings_set` names those of beginnings."""


def duration_name(duration_sec: float) -> str:
    """Return a duration as it occurs in the names of metrics and files, such as 2s or 2.5s."""
    return f"{duration_sec:g}s"


def beginnings_set(duration_sec: float) -> str:
    """Return the name of the set with the beginnings of the longer test utterances."""
    return f"{TEST_SET}_{duration_name(duration_sec)}"


@dataclass(frozen=True, kw_only=True)
class SpeakerCorpus(Corpus):
    """The folders of shards and the trial lists of a speaker corpus, relative to `shards_folder`.

    Args:
        train_set: A folder, or several: a name that occurs in more than one is one speaker.
        val_trials: The trial list of the validation set. It is tested too, as "val".
        test_sets: A folder for each name of a test in metrics (`test_eer_<name>`).
        test_trials: The trial list of each of these tests.
    """

    train_set: str | list[str]
    val_set: str
    val_trials: str
    test_sets: dict[str, str]
    test_trials: dict[str, str]

    def __post_init__(self) -> None:
        if set(self.test_sets) != set(self.test_trials) or VAL_SET in self.test_sets:
            raise ValueError(
                f"test_sets ({', '.join(self.test_sets)}) and test_trials "
                f"({', '.join(self.test_trials)}) must have the same names, other than {VAL_SET}. "
                "Correct the names."
            )


def _has_speaker_index(shard: Path) -> bool:
    """Return True if the utterances of a shard have indices of speakers in their metadata."""
    sample = next(read_shard(shard, with_audio=False))
    return "speaker_id_idx" in sample.metadata


def names_speaker(sample: EncodedSample) -> bool:
    """Return True for a sample whose metadata name a speaker."""
    return sample.named_speaker is not None


class SpeakerData(TaskData):
    """Chunks for training and whole utterances for evaluation, as `SpeakerBatch`.

    Folders without shards and trial lists that do not exist are a ValueError when the dataloaders
    are made. The test reads training shards only for the cohort of normalized scores.
    """

    collate = SpeakerBatch.collate
    has_label = names_speaker
    corpus: SpeakerCorpus
    loading: SpeakerLoading

    def __init__(
        self,
        *,
        corpus: SpeakerCorpus,
        loading: SpeakerLoading,
        selector_train: ChunkSelector,
        normaliser: NormaliseWaveform,
        test_durations_sec: Sequence[PositiveFloat],
        score_normalisation: ScoreNormalisation,
        cohort_utterances_per_speaker: PositiveInt,
        seed: int,
    ) -> None:
        super().__init__(corpus=corpus, loading=loading, normaliser=normaliser, seed=seed)
        self.selector_train = selector_train
        self.test_durations_sec = test_durations_sec
        self.has_cohort = score_normalisation != "none"
        self.cohort_utterances_per_speaker = cohort_utterances_per_speaker

    def network_sizes(self) -> dict[str, Any]:
        return {"num_speakers": self.num_speakers}

    def training_folders(self) -> list[str]:
        train_set = self.corpus.train_set
        return [train_set] if isinstance(train_set, str) else train_set

    @cached_property
    def num_speakers(self) -> int:
        """The number of speakers of the training sets, from their meta.json.

        A speaker all of whose utterances were rejected is not counted there, but has an index.
        """
        folders, names = self.training_folders(), self.speakers or ()
        if len(folders) > 1:
            return len(names)
        return max(int(self.read_meta(folders[0], "num_speakers")["num_speakers"]), len(names))

    @cached_property
    def speakers(self) -> list[str] | None:  # type: ignore[override]
        """The names of these speakers by their index, sorted if there are several sets.

        None if nothing names the speakers of an only set: its utterances have an index then.
        """
        folders = self.training_folders()
        if len(folders) == 1:
            return self._read_speakers(folders[0])
        names: set[str] = set()
        for folder in folders:
            own = self._read_speakers(folder)
            if own is None:
                raise ValueError(
                    f"{self.store.folder(folder) / 'meta.json'} must have speakers, to join them "
                    f"with those of other sets. Run {self.corpus.prepared_by} again."
                )
            names.update(own)
        return sorted(names)

    def _read_speakers(self, folder: str) -> list[str] | None:
        """Return the names of the speakers of a set, of an earlier version from its utterances."""
        names = self.read_meta(folder).get("speakers")
        if isinstance(names, list):
            return [str(name) for name in names]
        path = self.store.file_of_set(folder, "utterances.tsv")
        if not path.is_file() or _has_speaker_index(self.shards(folder)[0]):
            return None
        rows = csv.DictReader(split_lines(read_text(path)), delimiter="\t")
        return sorted({row["speaker"] for row in rows})

    @cached_property
    def val_trial_lists(self) -> dict[str, list[Trial]]:
        """The trials of the validation set, as "val"."""
        return {VAL_SET: self._read_trials(self.corpus.val_trials)}

    @cached_property
    def test_trial_lists(self) -> dict[str, list[Trial]]:
        """The trials of each test, and those of the validation set as "val"."""
        tests = {name: self._read_trials(path) for name, path in self.corpus.test_trials.items()}
        return tests | self.val_trial_lists

    @property
    def train_batch_samples(self) -> int:
        chunk_length = samples_from_seconds(self.selector_train.desired_chunk_length_sec)
        return self.loading.train_batch_size * chunk_length

    def sample_maker(self, *, is_training: bool) -> Callable[[EncodedSample], Any]:
        try:
            names = self.speakers
        except (ValueError, OSError):
            if is_training:
                raise
            names = None  # A test without training needs no training set.
        return partial(
            make_speaker_sample,
            normaliser=self.normaliser,
            is_training=is_training,
            indices=None if names is None else {name: index for index, name in enumerate(names)},
            has_own_index=len(self.training_folders()) == 1,
            num_speakers=self.num_speakers if is_training else None,
        )

    def chunking(self) -> Callable[..., Iterator[EncodedSample]]:
        return partial(
            select_chunks,
            selector=self.selector_train,
            shuffle_buffer_size=self.loading.shuffle_queue_size,
            lengths=self._speech_lengths if self.selector_train.match_speech_lengths else None,
        )

    def train_dataloader(self) -> DataLoader[Any]:
        batch_size, queue_size = self.loading.train_batch_size, self.loading.shuffle_queue_size
        batching: Stage = partial(equal_size_batches, batch_size=batch_size)
        if self.selector_train.match_speech_lengths:
            longest = max(self._speech_lengths)
            if longest > self.train_batch_samples:
                raise ValueError(
                    f"train_batch_size x desired_chunk_length_sec ({self.train_batch_samples} "
                    f"samples) must be at least the longest utterance of speech ({longest}). "
                    "Raise speaker.dataloader.train_batch_size or set "
                    "speaker.pipeline.selector_train.match_speech_lengths=false."
                )
            batching = partial(
                dynamic_batches,
                max_num_samples=self.train_batch_samples,
                max_queue_size=queue_size,
                length=sample_length,
            )
        return self.training_loader(
            self.shards(*self.training_folders()),
            shuffle_buffer_size=queue_size,
            choosing=[self.chunking()],
            batching=batching,
        )

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return the validation set; if trials are limited, only the utterances in them."""
        trials = self.val_trial_lists[VAL_SET]
        only_keys = None if self.loading.max_eval_trials is None else keys_of_trials(trials)
        shards = self.shards(self.corpus.val_set)
        return [self.evaluation_loader(shards, set_name=VAL_SET, only_keys=only_keys)]

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Return the utterances of all trial lists, their beginnings, and the cohort.

        Each utterance is read once, whatever the number of lists that name it. Beginnings are those
        of utterances longer than the duration; a shorter one is used whole.
        """
        trials = (trial for trials in self.test_trial_lists.values() for trial in trials)
        folders = dict.fromkeys([*self.corpus.test_sets.values(), self.corpus.val_set])
        # Tests that share utterances share shards: their folders link to the same files.
        shards = list(dict.fromkeys(shard.resolve() for shard in self.shards(*folders)))
        load = partial(self.evaluation_loader, shards, only_keys=keys_of_trials(trials))
        loaders = [load(set_name=TEST_SET)]
        for duration_sec in dict.fromkeys(self.test_durations_sec):
            choosing = [partial(keep_beginnings, duration_sec=duration_sec)]
            loaders.append(load(set_name=beginnings_set(duration_sec), choosing=choosing))
        if self.has_cohort:
            try:
                shards = self.shards(*self.training_folders())
            except ValueError as error:
                raise ValueError(
                    f"{error} They are the cohort of the normalized scores; "
                    "evaluation.score_normalisation=none needs no cohort."
                ) from error
            limit = self.cohort_utterances_per_speaker
            loaders.append(
                self.evaluation_loader(shards, set_name=COHORT_SET, max_num_of_speaker=limit)
            )
        return loaders

    @cached_property
    def _speech_lengths(self) -> Sequence[int]:
        for companion in self.companions.values():
            if lengths := companion.draw_lengths():
                return lengths
        raise ValueError(
            "speaker.pipeline.selector_train.match_speech_lengths (true) must be false in a run "
            "without speech. Set it to false."
        )

    def _read_trials(self, path: str) -> list[Trial]:
        file = self.store.file(path)
        trials = read_trials(file, producer=self.corpus.prepared_by)
        if len({trial.same_speaker for trial in trials}) < 2:
            raise ValueError(
                f"{file} must hold target trials (label 1) and non-target "
                f"trials (label 0), but all {len(trials)} have the label "
                f"{int(trials[0].same_speaker)}. Add trials of the other kind."
            )
        limit = self.loading.max_eval_trials
        return trials if limit is None else limit_trials(trials, limit)
