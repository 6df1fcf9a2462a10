"""Shards, transcripts and vocabularies of somebody else are labelled, joined or read."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.helpers.shard_files import Utterance, write_members, write_shard
from w2v2_mt.decoding.subwords import SubwordTokenizer
from w2v2_mt.inference.trained_network import load_trained

SUBWORDS = ["<pad>", "<unk>", "\u2581A", "\u2581", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ'", "BC"]


def write_utterance(folder: Path, key: str, **labels: object) -> Path:
    waveform = 0.1 * np.random.default_rng(0).normal(size=1_600)
    metadata = {"num_frames": 1_600, "speaker_id": "a", **labels}
    utterance = Utterance(key=key, waveform=waveform, metadata=metadata)
    write_shard(folder / "theirs.tar", [utterance])
    return folder


@pytest.mark.parametrize("key", ["../somewhere_else/thesis", "a/../../b", "/tmp/evil", "a b"])
def test_a_key_that_leads_elsewhere_becomes_no_file(
    write_checkpoint, refusal, tmp_path, key
) -> None:
    shards = write_utterance(tmp_path / "shards", key)
    output = tmp_path / "new" / "labelled.jsonl"
    sentence = refusal("label", write_checkpoint(), shards, "--output", output)
    assert "cannot be the name of a file" in sentence
    assert not output.parent.exists()


@pytest.mark.parametrize("stored", [b"[]", b"1", b'"a"', b"{", 10_000 * b"["])
def test_metadata_that_are_no_object_are_refused(
    write_checkpoint, refusal, tmp_path, stored
) -> None:
    write_members(tmp_path / "shards" / "theirs.tar", [("a.wav", b"RIFF"), ("a.json", stored)])
    output = tmp_path / "labelled.jsonl"
    sentence = refusal("label", write_checkpoint(), tmp_path / "shards", "--output", output)
    assert "The json of utterance a" in sentence


@pytest.mark.parametrize(
    "line", [10_000 * "[", '{"key": "a", "text": "b", "confidence": NaN}', '{"key": []}', "\udc80"]
)
def test_transcripts_that_are_wrong_are_a_sentence(
    write_checkpoint, refusal, tmp_path, line
) -> None:
    shards = write_utterance(tmp_path / "shards", "a")
    (tmp_path / "others.jsonl").write_bytes(line.encode(errors="surrogateescape") + b"\n")
    output = ("--output", tmp_path / "labelled.jsonl")
    others = ("--transcripts", tmp_path / "others.jsonl")
    refusal("label", write_checkpoint(), shards, *output, *others)


def use_subwords(record: dict, vocabulary: list[str]) -> None:
    record["config"]["speech"]["tokenizer"] = {
        "_target_": "w2v2_mt.decoding.subwords.SubwordTokenizer",
        "vocabulary_path": "/nowhere",
    }
    record["vocabulary"] = vocabulary


def test_subwords_of_a_checkpoint_need_no_file(write_checkpoint) -> None:
    assert len(SUBWORDS) == 32
    checkpoint = write_checkpoint(lambda record: use_subwords(record, SUBWORDS))
    tokenizer = load_trained(checkpoint).tokenizer
    assert isinstance(tokenizer, SubwordTokenizer)
    assert tokenizer.symbols == SUBWORDS


@pytest.mark.parametrize(
    "vocabulary",
    [
        SUBWORDS[:-1],
        [*SUBWORDS[:-1], "A"],
        [*SUBWORDS[:-1], "A B"],
        [*SUBWORDS[:-1], ""],
        ["|", *SUBWORDS[1:]],
        [f"{number}" for number in range(100_000)],
    ],
)
def test_subwords_that_do_not_fit_are_a_sentence(
    write_checkpoint, refusal, tone, vocabulary
) -> None:
    refusal("predict", write_checkpoint(lambda record: use_subwords(record, vocabulary)), tone)


def test_control_characters_of_labels_reach_no_terminal(
    write_checkpoint, watched, tmp_path, capfd
) -> None:
    from w2v2_mt.app.commands import main

    shards = write_utterance(tmp_path / "shards", "a", note="\x1b[2J", session_id="\x1b[2J")
    output = tmp_path / "labelled.jsonl"
    arguments = ["label", str(write_checkpoint()), str(shards), "--output", str(output)]
    capfd.readouterr()
    with watched():
        main(arguments)
    assert "\x1b[2J" not in "".join(capfd.readouterr())
    assert all("\x1b" not in line for line in output.read_text().splitlines())
    assert json.loads(output.read_text())["note"] == "\x1b[2J"
