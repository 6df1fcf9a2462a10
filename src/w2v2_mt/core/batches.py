"""Batches of utterances: padded tensors together with their lengths."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import get_worker_info

from w2v2_mt.core.padding import pad_sequences
from w2v2_mt.core.samples import JointSample, SpeakerSample, SpeechSample, speaker_of

UNKNOWN_SPEAKER_INDEX = -1
"""Index of a speaker who is not in the training set."""

SomeBatch = TypeVar("SomeBatch", bound="WaveformBatch")


@dataclass(frozen=True, kw_only=True)
class BatchLengths:
    """The lengths of a batch as numbers, read before it moves to a device.

    Args:
        num_samples: The number of valid samples of each utterance.
        max_num_samples: The number of samples of each row, padding included.
        rows: The utterances that have a label, by task; None means all of them.
    """

    num_samples: Sequence[int]
    max_num_samples: int
    rows: Mapping[str, Sequence[int] | None]

    @property
    def num_padded_samples(self) -> int:
        """Return the number of samples of all rows, padding included."""
        return len(self.num_samples) * self.max_num_samples


@dataclass(frozen=True, kw_only=True)
class WaveformBatch:
    """A batch of padded waveforms of one set, such as "train" or "clean", for one task.

    `speaker_ids` are the speakers whom the metadata names. None: they are those of the keys.
    `host_lengths` are `num_samples` as plain numbers, which stay on the host.
    """

    task: ClassVar[str]
    set_name: str
    keys: list[str]
    waveforms: Float[Tensor, "batch samples"]
    num_samples: Int[Tensor, " batch"]
    speaker_ids: list[str] | None = None
    host_lengths: tuple[int, ...] | None = None

    @property
    def speakers(self) -> list[str]:
        """Return the speaker of each utterance."""
        return self.speaker_ids or [speaker_of(key) for key in self.keys]

    def label_rows(self) -> Mapping[str, Int[Tensor, " rows"] | None]:
        """Return the rows that have a label, by task; None means all of them."""
        return {self.task: None}

    def part(self, task: str) -> "WaveformBatch":
        """Return the rows that have a label of a task, as a batch of this task."""
        return self

    def count_labels(self) -> Mapping[str, int] | None:
        """Return the number of labels of each task of the run, if the batch may lack some."""
        return None

    def read_lengths(self) -> BatchLengths:
        """Return the lengths as numbers; of labels on a GPU, this waits for the GPU."""
        return BatchLengths(
            num_samples=list(self.host_lengths or self.num_samples.tolist()),
            max_num_samples=self.waveforms.shape[1],
            rows={
                task: None if rows is None else rows.tolist()
                for task, rows in self.label_rows().items()
            },
        )

    @classmethod
    def pad(cls: type[SomeBatch], samples: Sequence[Any], **fields: Any) -> SomeBatch:
        """Pad utterances to one batch with these further fields.

        A DataLoader worker writes the waveforms into shared memory, before a thread of it that
        passes them on would do so, whose errors leave the run waiting forever.
        """
        waveforms, num_samples = pad_sequences(
            [sample.waveform for sample in samples],
            in_shared_memory=get_worker_info() is not None,
        )
        keys = [sample.key for sample in samples]
        fields |= {"keys": keys, "waveforms": waveforms, "num_samples": num_samples}
        fields["host_lengths"] = tuple(num_samples.tolist())
        fields["speaker_ids"] = [each.speaker_id or speaker_of(each.key) for each in samples]
        return cls(**fields)

    def __len__(self) -> int:
        return len(self.keys)

    def to(self: SomeBatch, *arguments: Any, **options: Any) -> SomeBatch:
        """Return the batch with every tensor moved or cast, as `Tensor.to` does.

        The host does not wait for tensors in page-locked memory to arrive on a GPU.
        """
        return self._map(
            lambda each: each.to(*arguments, **{"non_blocking": each.is_pinned(), **options})
        )

    def pin_memory(self: SomeBatch) -> SomeBatch:
        """Return the batch with every tensor copied to page-locked memory."""
        return self._map(Tensor.pin_memory)

    def _map(self: SomeBatch, change: Callable[[Tensor], Tensor]) -> SomeBatch:
        tensors = {name: each for name, each in vars(self).items() if isinstance(each, Tensor)}
        changed: dict[str, Any] = {name: change(tensor) for name, tensor in tensors.items()}
        return replace(self, **changed)


@dataclass(frozen=True, kw_only=True)
class SpeechBatch(WaveformBatch):
    """A batch of utterances with their tokens."""

    task = "speech"
    tokens: Int[Tensor, "batch tokens"]
    num_tokens: Int[Tensor, " batch"]
    transcriptions: list[str]

    @classmethod
    def collate(cls, samples: Sequence[SpeechSample], *, set_name: str) -> "SpeechBatch":
        """Pad the utterances of a set to one batch."""
        tokens, num_tokens = pad_sequences([sample.tokens for sample in samples])
        return cls.pad(
            samples,
            set_name=set_name,
            tokens=tokens,
            num_tokens=num_tokens,
            transcriptions=[sample.transcription for sample in samples],
        )


@dataclass(frozen=True, kw_only=True)
class SpeakerBatch(WaveformBatch):
    """A batch of utterances with their speakers.

    The index is `UNKNOWN_SPEAKER_INDEX` for a speaker who is not in the training set.
    """

    task = "speaker"
    speaker_indices: Int[Tensor, " batch"]

    @classmethod
    def collate(cls, samples: Sequence[SpeakerSample], *, set_name: str) -> "SpeakerBatch":
        """Pad the utterances of a set to one batch."""
        indices = [sample.speaker_index for sample in samples]
        known = [UNKNOWN_SPEAKER_INDEX if index is None else index for index in indices]
        return cls.pad(samples, set_name=set_name, speaker_indices=torch.tensor(known))


@dataclass(frozen=True, kw_only=True)
class JointBatch(WaveformBatch):
    """A batch of utterances that have labels of one task or several.

    Args:
        parts: For each task that has a label in the batch, the batch of its labels without the
            waveforms, which `part` adds.
        rows: The rows of each part; None if it has all of them.
        num_labelled: The number of labels of each task of the run, 0 included.
    """

    parts: Mapping[str, WaveformBatch]
    rows: Mapping[str, Int[Tensor, " rows"] | None]
    num_labelled: Mapping[str, int]

    @classmethod
    def collate(
        cls,
        samples: Sequence[JointSample],
        *,
        set_name: str,
        collate: Mapping[str, Callable[..., WaveformBatch]],
    ) -> "JointBatch":
        """Pad the utterances of a set to one batch.

        Args:
            collate: The function of each task that makes a batch of its samples.
        """
        parts, rows, num_labelled = {}, {}, {}
        for task, collate_part in collate.items():
            own = [row for row, sample in enumerate(samples) if task in sample.labelled]
            num_labelled[task] = len(own)
            if own:
                labelled = [samples[row].labelled[task] for row in own]
                part = collate_part(labelled, set_name=set_name)
                parts[task] = replace(part, waveforms=part.waveforms.new_zeros(len(own), 0))
                rows[task] = torch.tensor(own) if len(own) < len(samples) else None
        return cls.pad(
            samples, set_name=set_name, parts=parts, rows=rows, num_labelled=num_labelled
        )

    @classmethod
    def concatenate(cls, batches: Mapping[str, WaveformBatch]) -> "JointBatch":
        """Return the utterances of one batch of each task as a batch, with the labels of its task.

        The rows of a task are numbers on the host.
        """
        whole = list(batches.values())
        longest = max(batch.waveforms.shape[1] for batch in whole)
        rows = torch.arange(sum(map(len, whole))).split([len(batch) for batch in whole])
        padded = [
            torch.nn.functional.pad(batch.waveforms, (0, longest - batch.waveforms.shape[1]))
            for batch in whole
        ]
        known = [batch.host_lengths for batch in whole if batch.host_lengths is not None]
        return cls(
            set_name=whole[0].set_name,
            keys=[key for batch in whole for key in batch.keys],
            waveforms=torch.cat(padded),
            num_samples=torch.cat([batch.num_samples for batch in whole]),
            speaker_ids=[speaker for batch in whole for speaker in batch.speakers],
            host_lengths=sum(known, ()) if len(known) == len(whole) else None,
            parts=batches,
            rows=dict(zip(batches, rows, strict=True)),
            num_labelled={task: len(batch) for task, batch in batches.items()},
        )

    def label_rows(self) -> Mapping[str, Int[Tensor, " rows"] | None]:
        """Return the rows that have a label, by task; None means all of them."""
        return self.rows

    def count_labels(self) -> Mapping[str, int]:
        """Return the number of labels of each task of the run."""
        return self.num_labelled

    def part(self, task: str) -> WaveformBatch:
        """Return the rows that have a label of a task, as a batch of this task."""
        rows = self.rows[task]
        waveforms = self.waveforms if rows is None else self.waveforms[rows]
        return replace(self.parts[task], waveforms=waveforms)

    def _map(self, change: Callable[[Tensor], Tensor]) -> "JointBatch":
        return replace(
            super()._map(change),
            parts={task: part._map(change) for task, part in self.parts.items()},
            rows={task: None if rows is None else change(rows) for task, rows in self.rows.items()},
        )
