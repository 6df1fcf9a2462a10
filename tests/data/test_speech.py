import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tests.helpers.shard_files import Utterance, write_librispeech_shards, write_shard
from w2v2_mt.core.batches import SpeechBatch
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.decoding.tokenizer import LetterTokenizer
from w2v2_mt.decoding.vocabulary import write_vocabulary
from w2v2_mt.prepare.subwords import count_words, learn_subwords

Make = Callable[..., SpeechData]


def _keys(batches: list[SpeechBatch]) -> list[str]:
    return [key for batch in batches for key in batch.keys]


def _epoch(data: SpeechData, num_utterances: int) -> list[SpeechBatch]:
    """The first batches, up to this many utterances."""
    batches: list[SpeechBatch] = []
    for batch in data.train_dataloader():
        if sum(map(len, batches)) >= num_utterances:
            return batches
        batches.append(batch)
    raise AssertionError("training data ended")


def test_training_reads_all_its_sets_within_the_limit_of_a_batch(librispeech: Make) -> None:
    batches = _epoch(librispeech(), 48)
    readers = {key.split("/")[0] for key in _keys(batches)}
    assert readers == {"84", "85", "104", "105"}
    for batch in batches:
        assert batch.set_name == "train"
        assert batch.waveforms.numel() <= 120_000
        assert batch.waveforms.shape == (len(batch), int(batch.num_samples.max()))


def test_a_batch_holds_normalised_waveforms_and_their_tokens(librispeech: Make) -> None:
    tokenizer = LetterTokenizer(vocabulary_path=None)
    batch = next(iter(librispeech().train_dataloader()))
    for row, transcription in enumerate(batch.transcriptions):
        waveform = batch.waveforms[row, : batch.num_samples[row]]
        assert abs(waveform.mean()) < 1e-4
        assert abs(waveform.std(correction=0) - 1) < 1e-3
        assert (batch.waveforms[row, batch.num_samples[row] :] == 0).all()
        tokens = batch.tokens[row, : batch.num_tokens[row]]
        assert torch.equal(tokens, tokenizer.encode(transcription))
        # Each letter of the test files lasts 80 ms.
        assert batch.num_samples[row] == len(transcription) * 1280


def test_tokens_are_counted_in_all_training_sets(librispeech: Make) -> None:
    data = librispeech()
    tokenizer = LetterTokenizer(vocabulary_path=None)
    batches = _epoch(librispeech(train_max_num_samples=10**7, max_queue_size=24), 24)
    transcriptions = {
        key: text
        for batch in batches
        for key, text in zip(batch.keys, batch.transcriptions, strict=True)
    }
    assert len(transcriptions) == 24
    text = "".join(transcriptions.values())
    statistics = data.token_statistics
    assert statistics.counts[tokenizer.symbols.index("E")] == text.count("E") > 0
    assert statistics.counts[tokenizer.symbols.index("|")] == text.count(" ") > 0
    assert statistics.counts[tokenizer.symbols.index("<unk>")] == 0
    assert (sum(statistics.counts), len(statistics.counts)) == (len(text), 32)
    assert statistics.num_samples == 1280 * len(text)
    assert statistics.blank_index == 0


def test_subwords_are_counted_in_the_transcriptions(librispeech: Make, tmp_path: Path) -> None:
    batches = _epoch(librispeech(train_max_num_samples=10**7, max_queue_size=24), 24)
    texts = [text for batch in batches for text in batch.transcriptions]
    symbols = learn_subwords(count_words(texts), num_tokens=40)
    write_vocabulary(tmp_path / "bpe_vocabulary.json", symbols)
    tokenizer = SubwordTokenizer(vocabulary_path=str(tmp_path / "bpe_vocabulary.json"))
    statistics = librispeech(tokenizer=tokenizer).token_statistics
    tokens = [index for text in texts for index in tokenizer.encode(text).tolist()]
    assert statistics.counts == [tokens.count(index) for index in range(40)]
    assert statistics.num_samples == 1280 * len("".join(texts))


def test_lengths_are_those_of_the_training_utterances(librispeech: Make) -> None:
    batches = _epoch(librispeech(train_max_num_samples=10**7, max_queue_size=24), 24)
    lengths = [length for batch in batches for length in batch.num_samples.tolist()]
    assert sorted(librispeech().draw_lengths()) == sorted(lengths)


def test_lengths_are_read_of_a_few_shards_that_the_seed_draws(
    librispeech: Make, tmp_path: Path
) -> None:
    write_librispeech_shards(
        tmp_path, num_utterances=60, num_shards=20, sets=["train_clean_100", "train_other_500"]
    )
    folder = str(tmp_path / "librispeech_shards")

    def lengths(seed: int) -> list[int]:
        return librispeech(shards_folder=folder, seed=seed).draw_lengths()

    assert lengths(1) == lengths(1) != lengths(2)
    assert len(lengths(1)) == 8 * 3


def test_the_length_of_an_utterance_without_metadata_is_read_from_its_audio(
    librispeech: Make, tmp_path: Path
) -> None:
    utterance = Utterance(key="1/2/3", waveform=np.zeros(9), metadata={"key": "1/2/3"})
    write_shard(tmp_path / "train_clean_100" / "a.tar", [utterance])
    data = librispeech(shards_folder=str(tmp_path), train_sets=["train_clean_100"])
    assert data.draw_lengths() == [9]


@pytest.mark.parametrize("name", ["letter_counts", "num_frames"])
def test_shards_that_came_without_counts_are_to_be_prepared_again(
    librispeech: Make, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "train_clean_100"
    data = librispeech(shards_folder=str(tmp_path), train_sets=["train_clean_100"])
    with pytest.raises(ValueError, match=r"train_clean_100/meta\.json must exist\. Run scripts/"):
        _ = data.token_statistics
    folder.mkdir()
    metadata = {"letter_counts": {"A": 3}, "num_frames": 9_000}
    del metadata[name]
    (folder / "meta.json").write_text(json.dumps(metadata))
    with pytest.raises(
        ValueError,
        match=rf"meta\.json must have {name}\. Run scripts/.*\.sh again, or set network.ctc",
    ):
        _ = data.token_statistics


@pytest.mark.parametrize("num_workers", [0, 2])
def test_training_is_the_same_for_a_seed(librispeech: Make, num_workers: int) -> None:
    def first(seed: int) -> list[SpeechBatch]:
        data = librispeech(seed=seed, num_workers=num_workers)
        return list(islice(data.train_dataloader(), 6))

    for one, two in zip(first(1), first(1), strict=True):
        assert one.keys == two.keys
        assert torch.equal(one.waveforms, two.waveforms)
    assert _keys(first(1)) != _keys(first(2))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_evaluation_reads_each_utterance_of_each_set_once(
    librispeech: Make, num_workers: int
) -> None:
    data = librispeech(num_workers=num_workers)
    for loaders in (data.val_dataloader(), data.test_dataloader()):
        batches = [list(loader) for loader in loaders]
        assert [{batch.set_name for batch in own} for own in batches] == [{"clean"}, {"other"}]
        for own in batches:
            assert len(_keys(own)) == len(set(_keys(own))) == 12
            assert max(map(len, own)) == 4


def test_utterances_of_similar_length_are_evaluated_together(librispeech: Make) -> None:
    batches = list(librispeech().val_dataloader()[0])
    lengths = torch.cat([batch.num_samples for batch in batches])
    assert torch.equal(lengths, lengths.sort(descending=True).values)


def test_a_limit_shortens_evaluation_but_not_training(librispeech: Make) -> None:
    data = librispeech(max_eval_utterances=5)
    sizes = [len(_keys(list(loader))) for loader in data.val_dataloader() + data.test_dataloader()]
    assert sizes == [5, 5, 5, 5]
    assert len(set(_keys(_epoch(data, 72)))) == 24


def test_processes_share_out_training_and_evaluation(librispeech: Make) -> None:
    train, val = [], []
    for rank in range(2):
        data = librispeech()
        data.trainer = SimpleNamespace(global_rank=rank, world_size=2)  # type: ignore[assignment]
        batches = _epoch(data, 24)
        train.append(set(_keys(batches)))
        val.append(_keys(list(data.val_dataloader()[1])))
    assert train[0] != train[1]
    assert len(val[0]) == len(val[1]) == 6
    assert len({*val[0], *val[1]}) == 12


@pytest.mark.parametrize("phase", ["train", "val", "test"])
def test_missing_shards_are_an_error_before_anything_is_read(librispeech: Make, phase: str) -> None:
    gone = {"other": "nowhere"} if phase != "train" else ["train_clean_100", "nowhere"]
    data = librispeech(**{f"{phase}_sets": gone})
    with pytest.raises(
        ValueError,
        match=r"nowhere must hold shards \(\*\.tar\)\. "
        r"Run scripts/prepare\.sh or set DATA_FOLDER\.$",
    ):
        getattr(data, f"{phase}_dataloader")()


def test_too_many_workers_are_an_error_before_anything_is_read(librispeech: Make) -> None:
    with pytest.raises(
        ValueError, match="must hold at least 5 shards, not 4, for 5 DataLoader workers"
    ):
        librispeech(num_workers=5).train_dataloader()
