"""Shards and their meta.json from somebody else: a wrong entry is a sentence, and nothing hangs."""

import os
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.data.conftest import SPEAKER_LOADING
from tests.helpers.archive_files import noise
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.core.text_files import read_json_object, read_text
from w2v2_mt.data.loading import SpeakerLoading
from w2v2_mt.data.shards import read_shard
from w2v2_mt.data.speaker import SpeakerCorpus, SpeakerData
from w2v2_mt.data.transforms import ChunkSelector, NormaliseWaveform


def write_shard(path: Path, metadata: bytes) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in (("a/b.wav", encoded_audio(noise(0))), ("a/b.json", metadata)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, BytesIO(content))


@pytest.mark.parametrize(
    "metadata",
    [b"", bytes(3), b"[1]", b"null", b"7", b"[" * 100_000, b"1" * 5_000, b'{"a": "\xe9"}', b"{"],
)
def test_metadata_that_are_not_an_object_are_named(tmp_path, metadata):
    write_shard(tmp_path / "a.tar", metadata)
    with pytest.raises(ValueError, match=r"json of utterance a/b in shard .*a\.tar must be readab"):
        list(read_shard(tmp_path / "a.tar"))


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_not_a_file_is_not_opened(tmp_path, make):
    path = tmp_path / "a.tar"
    make(path)
    for read in (
        lambda: list(read_shard(path)),
        lambda: read_text(path),
        lambda: read_json_object(path, advice="Get it again."),
    ):
        with pytest.raises(
            ValueError, match=r"a\.tar must be a file, and not a folder, pipe or de"
        ):
            read()


META: dict[str, Any] = {
    "a list": "[1]",
    "depth": "[" * 100_000,
    "no JSON": "{",
    "a text": '{"num_speakers": "x", "num_frames": "x", "letter_counts": "x"}',
    "no number": '{"num_speakers": null, "num_frames": null, "letter_counts": null}',
    "below zero": '{"num_speakers": -4, "num_frames": -1, "letter_counts": {"A": 1.5}}',
    "more than any corpus": '{"num_speakers": 1000001, "num_frames": 1e400, "letter_counts": []}',
}


@pytest.mark.parametrize("kind", META)
@pytest.mark.parametrize("name", ["num_speakers", "num_frames", "letter_counts"])
def test_a_wrong_entry_of_meta_json_is_a_sentence(tmp_path, kind, name):
    data = SpeakerData(
        corpus=SpeakerCorpus(
            shards_folder=str(tmp_path),
            prepared_by="prepare.sh",
            train_set="train",
            val_set="val",
            val_trials="val_trials.txt",
            test_sets={},
            test_trials={},
        ),
        loading=SpeakerLoading(**SPEAKER_LOADING),
        selector_train=ChunkSelector(
            desired_chunk_length_sec=1.0, selection_strategy="start", match_speech_lengths=False
        ),
        normaliser=NormaliseWaveform(eps=1e-7),
        test_durations_sec=[],
        score_normalisation="none",
        cohort_utterances_per_speaker=1,
        seed=0,
    )
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "meta.json").write_text(META[kind])
    with pytest.raises(ValueError, match=r"train/meta\.json .* Run prepare\.sh again"):
        data.read_meta("train", name)
