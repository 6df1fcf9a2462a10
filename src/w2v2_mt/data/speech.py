"""Data of speech recognition: utterances with their transcriptions, from shards."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from math import ceil
from random import Random
from typing import Any

from torch.utils.data import DataLoader

from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.core.samples import EncodedSample, SpeechSample, TokenStatistics
from w2v2_mt.data.batching import dynamic_batches
from w2v2_mt.data.encoded_audio import sample_length
from w2v2_mt.data.loading import Corpus, SpeechLoading, TaskData
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.transforms import NormaliseWaveform, make_speech_sample
from w2v2_mt.decoding.tokenizer import Tokenizer

_NUM_SHARDS_SAMPLED = 8
"""These shards hold thousands of utterances, and reading their metadata takes a second."""


@dataclass(frozen=True, kw_only=True)
class SpeechCorpus(Corpus):
    """The folders of shards of a speech corpus, relative to `shards_folder`.

    Args:
        val_sets: A folder for each name of a validation set in metrics (`val_wer_<name>`).
        test_sets: A folder for each name of a test set in metrics.
        vocabulary: The file of the tokens of its transcripts, relative to `shards_folder`. None:
            the vocabulary of this project.
    """

    train_sets: list[str]
    val_sets: dict[str, str]
    test_sets: dict[str, str]
    vocabulary: str | None = None

    def __post_init__(self) -> None:
        if not self.val_sets:
            raise ValueError("val_sets must name a set. Write for example {other: dev_other}.")


def has_transcription(sample: EncodedSample) -> bool:
    """Return True for a sample with a transcription."""
    return sample.metadata.get("transcription") is not None


class SpeechData(TaskData):
    """Whole utterances with their tokens, as `SpeechBatch`.

    Folders without shards are a ValueError when the dataloaders are made.
    """

    collate = SpeechBatch.collate
    has_label = has_transcription
    corpus: SpeechCorpus
    loading: SpeechLoading
    tokenizer: Tokenizer

    def __init__(
        self,
        *,
        corpus: SpeechCorpus,
        loading: SpeechLoading,
        normaliser: NormaliseWaveform,
        tokenizer: Tokenizer,
        seed: int,
    ) -> None:
        super().__init__(corpus=corpus, loading=loading, normaliser=normaliser, seed=seed)
        self.tokenizer = tokenizer

    def network_sizes(self) -> dict[str, Any]:
        """Return the tokens, their number and a function that reads their statistics."""
        return {
            "num_tokens": self.tokenizer.num_tokens,
            "symbols": self.tokenizer.symbols,
            "token_statistics": lambda: self.token_statistics,
        }

    @cached_property
    def token_statistics(self) -> TokenStatistics:
        """The statistics of all training sets.

        Letters are counted in their meta.json, other tokens in the transcriptions of the shards.
        """
        count_tokens = self._count_letters if self.tokenizer.has_letters else self._count_in_shards
        counts, num_samples = count_tokens()
        return TokenStatistics(
            counts=[counts[index] for index in range(self.tokenizer.num_tokens)],
            blank_index=self.tokenizer.blank_index,
            num_samples=num_samples,
        )

    def _count_letters(self) -> tuple[Counter[int], int]:
        """Return the count of each token, and the number of audio samples."""
        num_samples = 0
        counts: Counter[int] = Counter()
        for folder in self.corpus.train_sets:
            advice = ", or set network.ctc_bias_init=zero"
            meta = self.read_meta(folder, "num_frames", "letter_counts", advice=advice)
            num_samples += meta["num_frames"]
            for character, count in meta["letter_counts"].items():
                for token in self.tokenizer.encode(character).tolist():
                    counts[token] += count
        return counts, num_samples

    def _count_in_shards(self) -> tuple[Counter[int], int]:
        """Return what `_count_letters` does, from the transcriptions."""
        num_samples = 0
        counts: Counter[int] = Counter()
        for shard in self.shards(*self.corpus.train_sets):
            for sample in read_shard(shard, with_audio=False):
                text = sample.metadata.get("transcription")
                if text:
                    num_samples += sample_length(sample)
                    counts.update(self.tokenizer.encode(text).tolist())
        return counts, num_samples

    def training_folders(self) -> list[str]:
        return self.corpus.train_sets

    def draw_lengths(self) -> list[int]:
        """Return lengths, in audio samples, of training utterances in a few random shards.

        Utterances are shuffled before shards are written, so the shards of a set represent it. Each
        set has the share in the lengths that it has in training. The choice depends on the seed
        alone.
        """
        sets = [self.shards(folder) for folder in self.corpus.train_sets]
        num_shards = sum(map(len, sets))
        rng = Random(f"{self.seed} lengths")
        lengths: list[int] = []
        for shards in sets:
            share = _NUM_SHARDS_SAMPLED * len(shards) / num_shards
            drawn = rng.sample(shards, min(len(shards), ceil(share)))
            samples = (sample for shard in drawn for sample in read_shard(shard, with_audio=False))
            own = [sample_length(sample) for sample in samples]
            # Rounding the number of shards up gave small sets too large a share.
            num_kept = round(len(own) / len(drawn) * min(len(shards), share))
            lengths += rng.sample(own, min(len(own), max(1, num_kept)))
        return lengths

    @property
    def train_batch_samples(self) -> int:
        return self.loading.train_max_num_samples

    def sample_maker(self, *, is_training: bool) -> Callable[[EncodedSample], SpeechSample]:
        return partial(make_speech_sample, normaliser=self.normaliser, tokenizer=self.tokenizer)

    def train_dataloader(self) -> DataLoader[Any]:
        return self.training_loader(
            self.shards(*self.corpus.train_sets),
            **self.whole_batches(),
        )

    def whole_batches(self) -> dict[str, Any]:
        batching = partial(
            dynamic_batches,
            max_num_samples=self.loading.train_max_num_samples,
            max_queue_size=self.loading.max_queue_size,
            length=sample_length,
        )
        return {"shuffle_buffer_size": self.loading.max_queue_size, "batching": batching}

    def val_dataloader(self) -> list[DataLoader[Any]]:
        return self._evaluation_loaders(self.corpus.val_sets)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        return self._evaluation_loaders(self.corpus.test_sets)

    def _evaluation_loaders(self, sets: dict[str, str]) -> list[DataLoader[Any]]:
        limit = self.loading.max_eval_utterances
        return [
            self.evaluation_loader(self.shards(folder), set_name=name, max_num_utterances=limit)
            for name, folder in sets.items()
        ]
