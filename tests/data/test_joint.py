import multiprocessing
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pytorch_lightning import LightningModule, Trainer
from scipy.stats import rankdata

from tests.helpers.shard_files import write_voxceleb_shards
from w2v2_mt.core.batches import SpeakerBatch, SpeechBatch
from w2v2_mt.data.joint import JointData
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.speaker import SpeakerData
from w2v2_mt.data.speech import SpeechData
from w2v2_mt.data.transforms import ChunkSelector


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
    librispeech: Callable[..., SpeechData], voxceleb: Callable[..., SpeakerData]
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
    assert joint.data_of_task["speech"].trainer is joint.data_of_task["speaker"].trainer is trainer


def test_the_speech_of_a_joint_run_is_that_of_a_speech_run(
    joint: JointData, librispeech: Callable[..., SpeechData]
) -> None:
    alone = next(iter(librispeech().train_dataloader()))
    together = next(iter(joint.train_dataloader()["speech"]))
    assert alone.keys == together.keys


@pytest.fixture(scope="module")
def long_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Voices of 3 to 4 s, longer than any speech of the tests."""
    folder = tmp_path_factory.mktemp("long")
    write_voxceleb_shards(folder, min_samples=48_000, max_samples=64_000, num_per_video=4)
    return folder


@pytest.fixture
def matched(
    librispeech: Callable[..., SpeechData],
    voxceleb: Callable[..., SpeakerData],
    long_files: Path,
) -> Callable[..., JointData]:
    """A joint run with chunks as long as speech; 6 of 0.6 s bound a batch to 57,600 samples."""

    def make(**changes: Any) -> JointData:
        selector = ChunkSelector(
            desired_chunk_length_sec=0.6, selection_strategy="random", match_speech_lengths=True
        )
        settings = {"shards_folder": str(long_files), "selector_train": selector} | changes
        return JointData(speech=librispeech(), speaker=voxceleb(**settings))

    return make


def _speaker_batches(joint: JointData, num_batches: int) -> list[SpeakerBatch]:
    return list(islice(joint.train_dataloader()["speaker"], num_batches))


def test_matched_chunks_have_the_lengths_of_speech(matched: Callable[..., JointData]) -> None:
    joint = matched()
    batches = _speaker_batches(joint, 600)
    drawn = np.sort(np.concatenate([batch.num_samples.numpy() for batch in batches]))
    speech = np.sort(joint.data_of_task["speech"].draw_lengths())
    assert speech.max() < 48_000
    # The largest distance of the two distributions; Kolmogorov's bound for a chance of 1 %.
    shares = [np.searchsorted(each, speech, side="right") / len(each) for each in (drawn, speech)]
    assert np.abs(shares[0] - shares[1]).max() < 1.63 / len(drawn) ** 0.5 < 0.05


def test_a_batch_of_matched_chunks_is_not_larger_than_one_of_equal_chunks(
    matched: Callable[..., JointData],
) -> None:
    batches = _speaker_batches(matched(shuffle_queue_size=24), 100)
    assert all(batch.waveforms.numel() <= 57_600 for batch in batches)
    assert all(batch.waveforms.shape[1] == batch.num_samples.max() for batch in batches)
    sizes = {len(batch) for batch in batches}
    assert min(sizes) < 6 < max(sizes)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_matched_chunks_are_the_same_for_a_seed(
    matched: Callable[..., JointData], num_workers: int
) -> None:
    first, second, other = (
        _speaker_batches(matched(num_workers=num_workers, seed=seed), 10) for seed in (3, 3, 4)
    )
    for one, two in zip(first, second, strict=True):
        assert one.keys == two.keys
        assert torch.equal(one.waveforms, two.waveforms)
    assert [batch.keys for batch in first] != [batch.keys for batch in other]


def test_matched_or_not_each_reader_reads_the_same_files(
    matched: Callable[..., JointData], voxceleb: Callable[..., SpeakerData], long_files: Path
) -> None:
    def keys(speaker: SpeakerData, reader: int) -> set[str]:
        stream = speaker.train_dataloader().dataset
        return {s.key for s in stream.epoch_samples(epoch=1, worker=reader, num_workers=2)}  # type: ignore[attr-defined]

    joint = matched()
    joint.train_dataloader()
    plain = voxceleb(shards_folder=str(long_files))
    for reader in range(2):
        assert keys(joint.data_of_task["speaker"], reader) == keys(plain, reader)


@pytest.mark.parametrize("strategy", ["random", "random_contiguous"])
def test_the_length_of_a_waveform_does_not_show_its_task(
    matched: Callable[..., JointData], data_folder: Path, tmp_path: Path, strategy: Any
) -> None:
    # Most files of speakers are shorter than speech.
    write_voxceleb_shards(tmp_path, min_samples=8_000, max_samples=24_000, num_per_video=4)
    selector = ChunkSelector(
        desired_chunk_length_sec=0.6, selection_strategy=strategy, match_speech_lengths=True
    )
    joint = matched(shards_folder=str(tmp_path), selector_train=selector)
    loaders = joint.train_dataloader()
    lengths = {
        task: np.concatenate([batch.num_samples.numpy() for batch in islice(loader, 200)])
        for task, loader in loaders.items()
    }
    labels = np.repeat([1, 0], [len(lengths["speech"]), len(lengths["speaker"])])
    ranks = rankdata(np.concatenate([lengths["speech"], lengths["speaker"]]))
    num_pairs = len(lengths["speech"]) * len(lengths["speaker"])
    num_speech = len(lengths["speech"])
    area = (ranks[labels == 1].sum() - num_speech * (num_speech + 1) / 2) / num_pairs
    assert abs(area - 0.5) < 0.05


def _stated_lengths(folder: Path) -> list[tuple[Path, str, int]]:
    return [
        (shard, sample.key, sample.metadata["num_frames"])
        for shard in folder.glob("*.tar")
        for sample in read_shard(shard, with_audio=False)
    ]


def test_speech_that_is_longer_than_a_speaker_batch_is_refused(
    matched: Callable[..., JointData],
) -> None:
    joint = matched(train_batch_size=1)
    longest = max(joint.data_of_task["speech"].draw_lengths())
    with pytest.raises(
        ValueError,
        match=rf"\(9600 samples\) must be at least the longest .* \({longest}\)\. Raise speaker",
    ):
        joint.train_dataloader()


def test_without_matching_nobody_asks_how_long_speech_is(
    joint: JointData, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(data: SpeechData) -> list[int]:
        raise AssertionError("lengths were read")

    monkeypatch.setattr(SpeechData, "draw_lengths", asked)
    for batch in _speaker_batches(joint, 4):
        assert len(batch) == 6
        assert batch.waveforms.shape[1] == 9_600


def test_workers_start_in_the_same_way_whatever_a_launcher_has_set(
    voxceleb: Callable[..., SpeakerData],
) -> None:
    former = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("spawn", force=True)  # as other launchers do
    try:
        loader = voxceleb(num_workers=1).train_dataloader()
        assert loader.multiprocessing_context.get_start_method() == "fork"
        assert len(next(iter(loader))) > 0
    finally:
        multiprocessing.set_start_method(former, force=True)
