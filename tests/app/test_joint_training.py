"""Runs that train on joint batches, whose utterances have labels of one task or of both."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as pl
import torch

from tests.golden.runs import replace_settings
from tests.helpers.left_in_folder import metrics_of, rows_of
from tests.helpers.shard_files import Utterance, spoken, write_set
from w2v2_mt.app.run import run
from w2v2_mt.core.batches import JointBatch

NAME = "train_mt_speaker_speech"
WORDS = ("TEA", "NOON", "HARD", "MOON")


class KilledError(Exception):
    pass


class Watch(pl.Callback):
    """Keeps the batches, and ends a run in the middle of things."""

    def __init__(self, killed_after: int = 0):
        self.killed_after = killed_after
        self.batches: list[JointBatch] = []

    def on_train_batch_end(self, _, __, ___, batch, *____) -> None:
        self.batches.append(batch)
        if len(self.batches) == self.killed_after:
            raise KilledError


def both_utterances(speakers: range, seed: int) -> list[Utterance]:
    """Utterances with transcription and speaker; of every third one a label is missing."""
    rng = np.random.default_rng(seed)
    utterances = []
    for number in range(24):
        speaker = speakers[number % len(speakers)]
        words = " ".join(rng.choice(WORDS, size=rng.integers(1, 3)))
        waveform = spoken(words, rng)
        labels = {
            "transcription": words,
            "speaker_id": f"s{speaker}",
            "speaker_id_idx": speaker - speakers[0],
        }
        missing = ((), ("transcription",), ("speaker_id", "speaker_id_idx"))[number % 3]
        metadata = {name: each for name, each in labels.items() if name not in missing}
        metadata |= {"num_frames": len(waveform), "sampling_rate": 16_000}
        key = f"c/s{speaker}/{number:04d}"
        utterances.append(Utterance(key=key, waveform=waveform, metadata=metadata))
    return utterances


@pytest.fixture(scope="module")
def both_folder(data_folder) -> Path:
    """A training set in which some utterances have both labels and others one."""
    folder = data_folder / "both_shards" / "train"
    write_set(folder, both_utterances(range(4), seed=1), name="train", num_shards=2)
    meta = json.loads((folder / "meta.json").read_text())
    meta |= {"num_speakers": 4, "speakers": ["s0", "s1", "s2", "s3"]}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


SETTINGS = [
    "data.mode=joint",
    "data.speech.shards_folder=${data_folder}",
    "data.speech.train_sets=[both_shards/train]",
    "data.speech.val_sets.clean=librispeech_shards/dev_clean",
    "data.speech.val_sets.other=librispeech_shards/dev_other",
    "data.speech.test_sets.clean=librispeech_shards/test_clean",
    "data.speech.test_sets.other=librispeech_shards/test_other",
    "data.speaker.train_set=both_shards/train",
    "trainer.max_steps=8",
    "trainer.val_check_interval=4",
]


@pytest.fixture
def start(small_config, both_folder):
    """Starts a joint run of eight steps; returns the batches of its steps."""

    def start_run(folder, *overrides, killed_after=0):
        config = small_config(NAME, *replace_settings(SETTINGS, overrides))
        watch = Watch(killed_after)
        run(
            config,
            config_name=NAME,
            folder=folder,
            overrides=overrides,
            extra_callbacks=[watch],
        )
        return watch.batches

    return start_run


def test_a_joint_run_trains_both_heads_on_one_batch_per_step(start, tmp_path):
    batches = start(tmp_path)
    assert len(batches) == 8
    for batch in batches:
        assert isinstance(batch, JointBatch)
        for row, key in enumerate(batch.keys):
            number = int(key.split("/")[-1])
            has = {"speech": number % 3 != 1, "speaker": number % 3 != 2}
            for task in ("speech", "speaker"):
                rows = batch.label_rows()[task] if task in batch.label_rows() else torch.tensor([])
                assert has[task] == (rows is None or row in rows.tolist())
    metrics = metrics_of(tmp_path)
    assert {"val_score", "test_eer_o", "test_wer_other"} <= set(metrics)
    with (tmp_path / "metrics.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert {"train_speech_loss", "train_speaker_loss", "train_acc", "train_wer"} <= set(columns)


@pytest.mark.parametrize("weights", [None, "{both_shards/train: 1, vox1_shards/train: 3}"])
@pytest.mark.parametrize(("num_workers", "killed_after"), [(0, 3), (2, 6)])
def test_a_joint_run_that_was_killed_resumes_as_if_it_had_not_been(
    start, tmp_path, weights, num_workers, killed_after
):
    settings = [
        "network.wav2vec_initially_frozen=false",
        "network/regularisation=wav2vec2_default_asr",
        "optim.loss.scale_method=dwa",
        f"num_workers={num_workers}",
    ]
    if weights is not None:
        settings += [
            f"data.weights={weights}",
            "data.speaker.train_set=[both_shards/train,vox1_shards/train]",
        ]
    whole = start(tmp_path / "whole", *settings)
    with pytest.raises(KilledError):
        start(tmp_path / "parts", *settings, killed_after=killed_after)
    rest = start(tmp_path / "parts", *settings)
    assert [batch.keys for batch in rest] == [batch.keys for batch in whole[-len(rest) :]]
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    assert metrics_of(tmp_path / "parts") == metrics_of(tmp_path / "whole")


def test_two_processes_with_joint_batches_end_with_the_same_network(
    run_command, both_folder, tmp_path
):
    settings = [
        "network.wav2vec_initially_frozen=false",
        "network.enable_ctc_pool_speaker_embedding=true",
        "optim.loss.scale_method=pcgrad",
        "optim.loss.gradient_diagnostics_every_n_steps=2",
        # Batches of one or two utterances, so that processes lack different labels.
        "speech.dataloader.train_max_num_samples=15_000",
        "trainer.devices=2",
        "num_workers=1",
    ]
    output = run_command(tmp_path, NAME, *replace_settings(SETTINGS, settings))
    assert output.count("step 8: ") == 1
    steps = [row for row in rows_of(tmp_path) if "train_loss" in row]
    assert len(steps) == 8
    assert {"train_speaker_loss" in row for row in steps} == {True, False}
    assert {"test_eer_o", "test_wer_other"} <= set(metrics_of(tmp_path))
