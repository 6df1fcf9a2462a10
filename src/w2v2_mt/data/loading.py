"""Settings of the dataloaders, and the base class of the data modules that use them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader

from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.text_files import read_json_object
from w2v2_mt.data.batch_stream import is_any
from w2v2_mt.data.batching import similar_length_batches
from w2v2_mt.data.encoded_audio import sample_length
from w2v2_mt.data.evaluation_stream import EvaluationStream
from w2v2_mt.data.loaders import StreamLoader, TrainingLoader
from w2v2_mt.data.positions import RunPosition
from w2v2_mt.data.remote_sets import RemoteAccess, ShardStore
from w2v2_mt.data.streams import TrainingStream
from w2v2_mt.data.transforms import NormaliseWaveform, Stage
from w2v2_mt.data.worker_resources import WorkerDemand
from w2v2_mt.decoding.tokenizer import Tokenizer

_NUM_SORTED_TOGETHER = 20_000
"""Evaluation sorts this many utterances by length, of which it holds only the place in a shard."""

_MAX_COUNTS = {"num_speakers": 10**6, "num_frames": 10**15}
"""The largest values of entries of meta.json: a classifier takes memory for each speaker."""


@dataclass(frozen=True, kw_only=True)
class Loading:
    """The settings of the dataloaders of a task.

    Args:
        remote: The rules for shards on other machines. None: there are none.
    """

    eval_max_num_samples: PositiveInt
    val_batch_size: PositiveInt | None
    num_workers: NonNegativeInt
    pin_memory: bool
    remote: RemoteAccess | None = None


@dataclass(frozen=True, kw_only=True)
class SpeechLoading(Loading):
    """The settings of the dataloaders of speech recognition."""

    train_max_num_samples: PositiveInt
    max_queue_size: PositiveInt
    max_eval_utterances: PositiveInt | None


@dataclass(frozen=True, kw_only=True)
class SpeakerLoading(Loading):
    """The settings of the dataloaders of speaker recognition.

    Args:
        max_eval_trials: The number of target trials and of non-target trials of each list. None:
            all.
    """

    train_batch_size: PositiveInt
    shuffle_queue_size: PositiveInt
    max_eval_trials: PositiveInt | None


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The place of the shards of a corpus, and the command that prepares them, for messages."""

    shards_folder: str
    prepared_by: str


class TaskData(LightningDataModule, ABC):
    """The data of one task, read from shards below the folder of a corpus.

    Training resumes where a checkpoint left off: the state of this module is the number of batches
    that this process has consumed, and the position of all processes in the training loader.
    """

    tokenizer: Tokenizer | None = None
    """Makes tokens of transcriptions, if the task has any."""

    speakers: Sequence[str] | None = None
    """The training speakers in the order of their indices, if the task has any with names."""

    collate: ClassVar[Callable[..., Any]]
    """Makes a batch of samples; its argument `set_name` is the name of their set."""

    has_label: ClassVar[Callable[[EncodedSample], bool]] = is_any
    """Returns True for a sample with a label of the task; others are skipped."""

    companions: Mapping[str, "TaskData"] = {}
    """The data of all tasks of a multi-task run, by the name of the task."""

    def __init__(
        self, *, corpus: Corpus, loading: Loading, normaliser: NormaliseWaveform, seed: int
    ) -> None:
        super().__init__()
        self.corpus = corpus
        self.loading = loading
        self.normaliser = normaliser
        self.seed = seed
        self.store = ShardStore(root=corpus.shards_folder, access=loading.remote)
        self.num_batches_done = 0
        self._saved_position: dict[str, Any] | None = None
        self._training_loader: TrainingLoader | None = None
        self.mixes_sets = True
        self.weights: Mapping[Path, float] | None = None

    @abstractmethod
    def network_sizes(self) -> dict[str, Any]:
        """Return the arguments for `build` of the network's settings that come from the data."""

    @property
    def train_batch_samples(self) -> int:
        """The largest number of audio samples in a training batch with its padding; 0: unknown."""
        return 0

    @abstractmethod
    def sample_maker(self, *, is_training: bool) -> Callable[[EncodedSample], Any]:
        """Return the function from an encoded sample to a sample that can be collated."""

    def whole_batches(self) -> dict[str, Any] | None:
        """Return the arguments of `training_loader` for batches of whole utterances.

        None: the task leaves it to another one to make the batches of joint training.
        """
        return None

    def chunking(self) -> Callable[..., Iterator[EncodedSample]] | None:
        """Return the stage that selects chunks for training; None: whole utterances are used.

        Its argument `is_whole` returns True for samples of which no chunk is selected.
        """
        return None

    def draw_lengths(self) -> list[int]:
        """Return lengths of training utterances that other tasks may match, in audio samples."""
        return []

    def worker_demands(self, *, trains: bool, tests: bool) -> list[WorkerDemand]:
        """Return what the DataLoader workers of a run ask of the machine."""
        loaders = [
            *(self.test_dataloader() if tests else ()),
            *(self.val_dataloader() if trains else ()),
        ]
        demand = WorkerDemand(
            num_workers=self.loading.num_workers,
            train_num_samples=self.train_batch_samples if trains else 0,
            eval_num_samples=self.loading.eval_max_num_samples,
            num_evaluations=len(loaders),
        )
        return [demand]

    def training_folders(self) -> list[str]:
        """Return the folders of the training shards, for messages."""
        return []

    def training_metadata(self) -> dict[str, dict[str, Any]]:
        """Return the content of the meta.json of each training folder, empty if it has none."""
        metadata: dict[str, dict[str, Any]] = {}
        for folder in self.training_folders():
            try:
                metadata[folder] = self.read_meta(folder)
            except (ValueError, OSError):
                metadata[folder] = {}
        return metadata

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the data. Every process must call it."""
        return {**self.progress_state(), "position": self.position_state()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.num_batches_done = state_dict["num_batches_done"]
        # A run of version 0.1.0 is resumed with the order of batches that it began with.
        self.mixes_sets = bool(state_dict.get("mixes_sets", False))
        # Earlier versions stored the number of batches only.
        self._saved_position = state_dict.get("position")

    def progress_state(self) -> dict[str, Any]:
        """Return what the state of all tasks of a run has in common."""
        return {"num_batches_done": self._count_batches(), "mixes_sets": self.mixes_sets}

    def position_state(self) -> dict[str, Any] | None:
        """Return the position in the training loader for a checkpoint; None if there is none."""
        if self._training_loader is None:
            return None
        num_batches = self._count_batches() - self.num_batches_done
        return self._training_loader.position_state(num_batches)

    def _count_batches(self) -> int:
        assert self.trainer is not None
        return self.trainer.fit_loop.total_batch_idx + 1

    def shards(self, *folders: str) -> list[Path]:
        """Return the shards of folders; a folder without any is a ValueError."""
        find = partial(self.store.shards, producer=self.corpus.prepared_by)
        return [shard for folder in folders for shard in find(folder)]

    def read_meta(self, folder: str, *names: str, advice: str = "") -> dict[str, Any]:
        """Read the meta.json of a folder, which must have entries of these names."""
        path, producer = self.store.file_of_set(folder, "meta.json"), self.corpus.prepared_by
        if not path.is_file():
            raise ValueError(f"{path} must exist. Run {producer} or set DATA_FOLDER.")
        meta = read_json_object(path, advice=f"Run {producer} again.")
        for name in names:
            if meta.get(name) is None:
                raise ValueError(f"{path} must have {name}. Run {producer} again{advice}.")
            if not _is_fit(name, meta[name]):
                raise ValueError(
                    f"{path} has a wrong value of {name} ({meta[name]!r:.40}). Run {producer} "
                    f"again{advice}."
                )
        return meta

    def training_loader(
        self,
        shards: Sequence[Path],
        *,
        shuffle_buffer_size: int,
        batching: Stage,
        choosing: Sequence[Stage] = (),
        **changes: Any,
    ) -> DataLoader[Any]:
        """Return a dataloader of endless training batches; too few shards are a ValueError.

        The `changes` replace arguments of the stream that come from the task.
        """
        stream = TrainingStream(
            shards=shards,
            shuffle_buffer_size=shuffle_buffer_size,
            batching=batching,
            choosing=choosing,
            seed=self.seed,
            num_batches_done=self.num_batches_done,
            mixes_sets=self.mixes_sets,
            weights=self.weights,
            position=self._find_position(shards),
            reports_positions=True,
            **self._stream_settings("train", is_training=True) | changes,
        )
        start = stream.start(max(1, self.loading.num_workers))
        stream.check_num_workers(start.order.num_streams_in_all)
        self._training_loader = TrainingLoader(
            stream, num_workers=self.loading.num_workers, pin_memory=self.loading.pin_memory
        )
        return self._training_loader

    def evaluation_loader(
        self, shards: Sequence[Path], *, set_name: str, **selection: Any
    ) -> DataLoader[Any]:
        """Return a dataloader of the utterances that an `EvaluationStream` selects of shards."""
        batching = partial(
            similar_length_batches,
            max_num_samples=self.loading.eval_max_num_samples,
            max_batch_size=self.loading.val_batch_size,
            window_size=_NUM_SORTED_TOGETHER,
            length=sample_length,
        )
        settings = self._stream_settings(set_name, is_training=False)
        return StreamLoader(
            EvaluationStream(shards=shards, batching=batching, **selection, **settings),
            num_workers=self.loading.num_workers,
            pin_memory=self.loading.pin_memory,
        )

    def _find_position(self, shards: Sequence[Path]) -> RunPosition | None:
        if self._saved_position is None:
            return None
        return RunPosition.from_state(self._saved_position, shards)

    def _stream_settings(self, set_name: str, *, is_training: bool) -> dict[str, Any]:
        return {
            "has_label": type(self).has_label,
            "make_sample": self.sample_maker(is_training=is_training),
            "collate": partial(type(self).collate, set_name=set_name),
            "rank": 0 if self.trainer is None else self.trainer.global_rank,
            "world_size": 1 if self.trainer is None else self.trainer.world_size,
        }


def _is_fit(name: str, value: Any) -> bool:
    """Return True for a possible value of an entry of meta.json."""
    if name == "letter_counts":
        return isinstance(value, dict) and all(type(each) is int for each in value.values())
    return type(value) is int and 1 <= value <= _MAX_COUNTS[name]
