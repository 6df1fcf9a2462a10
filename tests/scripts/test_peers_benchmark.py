"""`benchmarks/peers.py` with a small network and the peers that this environment has."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

from w2v2_mt.settings.environment import PROJECT_FOLDER

OPTIONS = [
    *("--architectures", "smoke", "--num-utterances", "4", "--num-rounds", "1"),
    *("--padded-sec", "1", "0.5", "--batch-sizes", "1"),
]


@pytest.fixture
def peers(monkeypatch):
    """The module of the benchmark."""
    monkeypatch.syspath_prepend(str(PROJECT_FOLDER / "benchmarks"))
    return import_module("peers")


def test_sides_that_are_installed_do_the_same_work_and_others_are_named(tmp_path):
    output = tmp_path / "peers.json"
    command = [sys.executable, "benchmarks/peers.py", "--output", str(output), *OPTIONS]
    finished = subprocess.run(
        [*command, "--works", "speech_step", "transcribe", "load"],
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    rows = {row["work"]: row for row in json.loads(output.read_text())["rows"]}
    for precision, tolerance in (("float32", 1e-5), ("bf16", 5e-3)):
        row = rows[f"CTC step, equal, {precision}"]
        name, difference = row["peers"]["HuggingFace"]["difference"].split()
        assert name == "loss"
        assert float(difference) < tolerance
        assert row["not_installed"] == ["SpeechBrain"]
    assert rows["transcribe, float32, flac files"]["peers"]["HuggingFace"]["difference"] == (
        "4 of 4 equal"
    )
    assert rows["read and batch, flac"]["not_installed"] == [
        "SpeechBrain",
        "lhotse files",
        "lhotse shar",
    ]
    assert "| lhotse shar | not installed |" in finished.stdout


def test_the_table_names_a_peer_that_is_faster(peers):
    peer = {"lowest_and_highest": [0.4, 0.6], "batch_size": 4, "difference": "loss 0"}
    row = {
        "work": "CTC step",
        "unit": "step",
        "model": "tiny",
        "cpu_sec": 2.0,
        "peers": {"HuggingFace": {"cpu_sec": 1.0, "times_as_fast": 0.5, **peer}},
        "not_installed": [],
    }
    line = peers.format_table([row]).splitlines()[-1]
    assert line == (
        "| CTC step (step) | tiny | 2 s | HuggingFace, batches of 4 | 1 s | 0.50 (0.40 to 0.60) "
        "| HuggingFace | loss 0 |"
    )


def test_differences_are_those_of_what_was_computed(peers):
    assert peers.difference({"loss": 2.0}, {"loss": 2.5}) == "loss 2.5e-01"
    ours, peer = {"a": [1.0, 0.0], "b": [0.0, 2.0]}, {"a": [2.0, 0.0], "b": [1.0, 1.0]}
    assert peers.difference({"embeddings": ours}, {"embeddings": peer}) == "cosine 0.707107"
    texts = {"transcripts": {"a": "X", "b": "Y"}}
    assert peers.difference(texts, {"transcripts": {"a": "X", "b": ""}}) == "1 of 2 equal"
