"""Labels of a network for the utterances of manifests and shards."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from tests.helpers.shard_files import write_voxceleb_shards
from tests.helpers.small_networks import save_architecture
from w2v2_mt.app.commands import main
from w2v2_mt.app.run import run
from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.shards import find_shards, read_shard
from w2v2_mt.labelling import network_labels
from w2v2_mt.manifests.manifest import read_manifest
from w2v2_mt.settings.environment import PROJECT_FOLDER


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.helpers.shard_files import write_librispeech_shards

    folder = tmp_path_factory.mktemp("data")
    write_librispeech_shards(folder, num_utterances=6, max_num_words=2)
    write_voxceleb_shards(folder, max_samples=12_000)
    return folder


@pytest.fixture(scope="module")
def checkpoints(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A network of both tasks and one of speech, whose best tokens vary over the frames."""
    import hydra

    from tests.helpers.run_fixtures import SMALL_BATCHES
    from w2v2_mt.settings.validation import check_settings

    folder = tmp_path_factory.mktemp("trained")
    architecture = save_architecture(str(folder / "architecture"), "base")
    written = {}
    for config_name in ("train_mt_speaker_speech", "train_speech"):
        overrides = [
            f"data_folder={data_folder}", f"log_folder={folder}", "gpus=0", "num_workers=0",
            f"network.wav2vec_huggingface_id={architecture}", "network.reset_weights=true",
            "trainer.max_steps=2", "trainer.val_check_interval=2", "eval_model=false",
            "trainer.enable_progress_bar=false", *SMALL_BATCHES[config_name],
        ]  # fmt: skip
        with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
            config = check_settings(hydra.compose(config_name, overrides))
        run(config, config_name=config_name, folder=folder / config_name, overrides=())
        checkpoint = folder / config_name / "checkpoints" / "best.ckpt"
        content = torch.load(checkpoint, weights_only=True)
        for name, weight in content["state_dict"].items():
            if name.endswith("head.linear.weight"):
                weight *= 100
        torch.save(content, checkpoint)
        written[config_name] = checkpoint
    return written


@pytest.fixture
def both(checkpoints: dict[str, Path]) -> Path:
    return checkpoints["train_mt_speaker_speech"]


def label(checkpoint: Path, source: Path, output: Path, *arguments: object) -> list[dict[str, Any]]:
    command = ["label", str(checkpoint), str(source), "--output", str(output)]
    assert main([*command, *map(str, arguments)]) == 0
    return [json.loads(line) for line in output.read_text().splitlines()]


def refusal(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["label", *map(str, arguments)]) == 1
    return capsys.readouterr().err


def noise(num_samples: int, *, seed: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).normal(size=num_samples)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A manifest of files of two rates, of which one is in two parts, and one is too short."""
    folder = tmp_path / "audio"
    (folder / "a").mkdir(parents=True)
    soundfile.write(folder / "a" / "1.wav", noise(16_000, seed=1), 16_000)
    soundfile.write(folder / "a" / "2.flac", noise(44_100, seed=2), 44_100)
    soundfile.write(folder / "call.wav", noise(48_000, seed=3), 16_000)
    soundfile.write(folder / "short.wav", noise(300, seed=4), 16_000)
    lines = [
        {"path": "a/1.wav", "speaker": "anna", "split": "train", "accent": "north"},
        {"path": "a/2.flac", "text": "hello there"},
        {"path": "call.wav", "start": 0.5, "end": 1.5, "session": "call", "gender": "f"},
        {"path": "call.wav", "start": 1.5, "end": 2.75, "session": "call"},
        {"path": "short.wav"},
    ]
    path = folder / "mine.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def test_missing_labels_of_a_manifest_are_added(both, recordings, capsys) -> None:
    rows = label(both, recordings, recordings.with_name("labelled.jsonl"))
    captured = capsys.readouterr()
    assert "skipped: short is 19 ms long, too short for one frame" in captured.err
    assert "labelled.jsonl has 4 utterances; " in captured.out
    assert "3 new transcripts" in captured.out
    assert "--root" not in captured.out
    first, second, third, fourth = rows
    assert first["path"] == "a/1.wav"
    assert (first["speaker"], first["split"], first["accent"]) == ("anna", "train", "north")
    assert first["text"]
    assert 0 < first["confidence"] <= 1
    assert (second["path"], second["text"]) == ("a/2.flac", "hello there")
    assert "confidence" not in second
    assert (third["start"], third["end"], third["sex"]) == (0.5, 1.5, "f")
    for row in (second, third, fourth):
        assert row["speaker"].startswith("cluster-")
        assert -1 <= row["speaker_cosine"] <= 1.0001
    # The manifest is one that can be read again, with the same keys.
    again = read_manifest(recordings.with_name("labelled.jsonl"))
    assert not again.rejections
    keys = [each.key for each in again.recordings]
    assert keys == ["a/1", "a/2", "call-500-1500", "call-1500-2750"]
    assert [each.text for each in again.recordings] == [row["text"] for row in rows]
    assert again.recordings[0].metadata == {
        "accent": "north",
        "confidence": str(first["confidence"]),
    }


def test_the_transcript_is_that_of_predict(both, recordings, tmp_path) -> None:
    (first, *_) = label(both, recordings, tmp_path / "labelled.jsonl")
    out = tmp_path / "out.jsonl"
    audio = recordings.parent / "a" / "1.wav"
    assert main(["predict", str(both), str(audio), "--output", str(out)]) == 0
    assert first["text"] == json.loads(out.read_text())["transcript"]


def test_speakers_of_a_session_are_of_it_alone(both, recordings, tmp_path) -> None:
    arguments = ("--within_sessions", "--speaker_threshold", -1)
    rows = label(both, recordings, tmp_path / "labelled.jsonl", *arguments)
    speakers = [row["speaker"] for row in rows]
    expected = ["anna", "a/2.flac-cluster-00000", "call-cluster-00000", "call-cluster-00000"]
    assert speakers == expected


def test_uncertain_transcripts_and_other_lengths_are_left_out(both, recordings, tmp_path) -> None:
    rows = label(both, recordings, tmp_path / "a.jsonl", "--min_confidence", 1)
    assert [row.get("text") for row in rows] == [None, "hello there", None, None]
    rows = label(both, recordings, tmp_path / "b.jsonl", "--min_sec", 0.9, "--max_sec", 1.1)
    assert [row["path"] for row in rows] == ["a/1.wav", "a/2.flac", "call.wav"]


def test_an_utterance_without_any_label_is_left_out(checkpoints, recordings, tmp_path, capsys):
    rows = label(
        checkpoints["train_speech"], recordings, tmp_path / "a.jsonl", "--min_confidence", 1
    )
    assert [row["path"] for row in rows] == ["a/1.wav", "a/2.flac"]
    assert "2 without any label" in capsys.readouterr().out


def test_labels_can_be_replaced(both, recordings, tmp_path) -> None:
    rows = label(both, recordings, tmp_path / "a.jsonl", "--relabel")
    assert all(row["speaker"].startswith("cluster-") for row in rows)
    assert "confidence" in rows[1]
    assert rows[1]["text"] != "hello there"


@pytest.mark.parametrize("block", [0, 1])
def test_a_stopped_call_resumes_with_the_same_bytes(
    both, recordings, tmp_path, monkeypatch, capsys, block
) -> None:
    monkeypatch.setattr(network_labels, "BLOCK_SIZE", 2)
    label(both, recordings, tmp_path / "whole.jsonl")
    num_blocks = 0

    def stop(path: Path, text: str) -> None:
        nonlocal num_blocks
        if num_blocks == block:
            raise KeyboardInterrupt
        num_blocks += 1
        replace_text(path, text)

    command = ["label", str(both), str(recordings), "--output", str(tmp_path / "parts.jsonl")]
    with monkeypatch.context() as context:
        context.setattr(network_labels, "replace_text", stop)
        assert main(command) == 130
    assert "The same command resumes from here" in capsys.readouterr().err
    assert not (tmp_path / "parts.jsonl").exists()

    labelled: list[str] = []
    label_block = network_labels.NetworkLabeller._label_block

    def note(self, utterances, files) -> None:
        labelled.extend(each.key for each in utterances)
        label_block(self, utterances, files)

    monkeypatch.setattr(network_labels.NetworkLabeller, "_label_block", note)
    assert main(command) == 0
    keys = ["a/1", "a/2", "call-500-1500", "call-1500-2750", "short"]
    assert labelled == keys[2 * block :]
    assert (tmp_path / "parts.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not list(tmp_path.glob(".parts*"))


def test_other_options_begin_again(both, recordings, tmp_path, monkeypatch) -> None:
    work = tmp_path / ".a.jsonl.partial"
    work.mkdir()
    (work / "block-000000.json").write_text("{}")
    (work / "preparation.json").write_text("{}")
    assert len(label(both, recordings, tmp_path / "a.jsonl")) == 4


def test_shards_of_speakers_get_transcripts_and_their_audio_is_copied(
    both, data_folder, tmp_path, capsys
) -> None:
    shards = data_folder / "vox1_shards" / "test"
    rows = label(both, shards, tmp_path / "new" / "labelled.jsonl")
    assert "prepare manifest" in capsys.readouterr().out
    assert rows
    manifest = read_manifest(tmp_path / "new" / "labelled.jsonl")
    assert not manifest.rejections
    for row, recording in zip(rows, manifest.recordings, strict=True):
        assert recording.key == row["path"].removesuffix(".wav")
        assert recording.speaker == recording.key.split("/")[0]
        assert recording.text == row["text"]
        assert soundfile.info(tmp_path / "new" / row["path"]).samplerate == 16_000


def test_labelled_shards_become_a_corpus_of_both_tasks(both, data_folder, tmp_path) -> None:
    shards = data_folder / "vox1_shards" / "train"
    output = tmp_path / "labelled" / "manifest.jsonl"
    rows = label(both, shards, output)
    folder = ["--data_folder", str(tmp_path), "--num_workers", "0"]
    assert main(["prepare", "manifest", str(output), "--name", "pseudo", *folder]) == 0
    made: dict[str, EncodedSample] = {}
    for name in ("train", "val", "test"):
        for shard in find_shards(tmp_path / "pseudo_shards" / name, producer=""):
            made |= {sample.key: sample for sample in read_shard(shard)}
    original = {
        sample.key: sample
        for shard in find_shards(shards, producer="")
        for sample in read_shard(shard)
    }
    assert made.keys() == original.keys() == {row["path"].removesuffix(".wav") for row in rows}
    for row in rows:
        sample = made[row["path"].removesuffix(".wav")]
        assert sample.metadata["transcription"] == row["text"]
        assert sample.metadata["speaker_id"] == row["speaker"]
        assert sample.metadata["confidence"] == str(row["confidence"])
        assert torch.equal(decode(sample), decode(original[sample.key]))


def test_transcripts_of_another_system_are_joined(both, recordings, tmp_path, capsys) -> None:
    others = tmp_path / "others.jsonl"
    lines = [
        {"key": "a/1", "text": "one", "confidence": 0.9},
        {"audio_filepath": str(recordings.parent / "call.wav"), "offset": 0.5, "duration": 1.0,
         "text": "reference", "pred_text": "two"},
        {"path": "call.wav", "start": 1.5, "end": 2.75, "transcript": "three", "confidence": 0.2},
    ]  # fmt: skip
    others.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    arguments = ("--transcripts", others, "--min_confidence", 0.5)
    rows = label(both, recordings, tmp_path / "labelled.jsonl", *arguments)
    assert [row.get("text") for row in rows] == ["one", "hello there", "two", None]
    assert [row.get("confidence") for row in rows] == [0.9, None, None, None]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"key": "a"', "line 1: it is not JSON"),
        ('{"text": "a"}', "line 1: it must have a key or a path"),
        ('{"key": "a/1", "txt": "a"}', "line 1: it has no text. Did you mean 'text'?"),
        ('{"key": "a/1", "text": 3}', "its text must be a text, not 3"),
        ('{"key": "a/1", "text": "a", "confidence": 2}', "its confidence (2) must be from 0 to 1"),
        ('{"path": "/elsewhere/a.wav", "text": "a"}', "its path '/elsewhere/a.wav' must be in"),
        ('{"key": "b", "text": "a"}', "No key of"),
        ('{"key": "a", "text": "a"}\n{"key": "a", "text": "b"}', "a has another transcript before"),
    ],
)
def test_wrong_transcripts_are_named(both, recordings, tmp_path, capsys, line, message) -> None:
    others = tmp_path / "others.jsonl"
    others.write_text(line + "\n")
    arguments = (both, recordings, "--output", tmp_path / "a.jsonl", "--transcripts", others)
    assert message in refusal(capsys, *arguments)
    assert not (tmp_path / "a.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--min_confidence", 2], "--min_confidence (2) must be from 0 to 1"),
        (["--min_sec", 3, "--max_sec", 2], "--min_sec (3) must be from 0 to --max_sec (2)"),
        (["--speaker_threshold", 3], "--speaker_threshold (3) must be a cosine"),
        (["--window_sec", 0], "--window_sec (0) must be a finite number above 0"),
    ],
)
def test_wrong_options_are_named(both, recordings, tmp_path, capsys, arguments, message) -> None:
    output = ("--output", tmp_path / "a.jsonl")
    assert message in refusal(capsys, both, recordings, *output, *arguments)


def test_labels_that_are_all_there_are_an_error(checkpoints, tmp_path, recordings, capsys) -> None:
    recordings.write_text('{"path": "a/1.wav", "text": "one"}\n')
    output = ("--output", tmp_path / "a.jsonl")
    error = refusal(capsys, checkpoints["train_speech"], recordings, *output)
    assert "There is nothing to label for a network with a head for speech" in error
    shutil.copy(recordings, tmp_path / "a.jsonl")
    assert "exists already" in refusal(capsys, checkpoints["train_speech"], recordings, *output)


def test_a_checkpoint_without_a_threshold_needs_one(both, recordings, tmp_path, capsys) -> None:
    content = torch.load(both, weights_only=True)
    del content["w2v2_mt"]["metrics"]["val_eer_threshold"]
    torch.save(content, tmp_path / "without.ckpt")
    output = ("--output", tmp_path / "a.jsonl")
    error = refusal(capsys, tmp_path / "without.ckpt", recordings, *output)
    assert "Give --speaker_threshold" in error


def test_audio_of_another_corpus_is_not_replaced(both, data_folder, tmp_path, capsys) -> None:
    shards = data_folder / "vox1_shards" / "test"
    rows = label(both, shards, tmp_path / "a.jsonl")
    (tmp_path / rows[0]["path"]).write_bytes(b"other")
    assert "with other audio" in refusal(capsys, both, shards, "--output", tmp_path / "b.jsonl")
