import json
import subprocess
from importlib import metadata

import numpy as np
import pytest
import torch
import yaml

from tests.helpers.joint_training import small_speaker_objective, small_speech_objective
from w2v2_mt.core.trials import Trial
from w2v2_mt.core.units import count
from w2v2_mt.runs import run_record as record
from w2v2_mt.runs.run_record import code_version, write_metrics, write_setting, write_test_outputs
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials
from w2v2_mt.tasks.transcripts import Transcript


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A git repository of one commit as the project, and a function that calls git in it."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    monkeypatch.setattr(record, "PROJECT_FOLDER", folder)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")

    def git(*arguments: str) -> str:
        command = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init")
    (folder / "code.py").write_text("1\n")
    git("add", "code.py")
    git("commit", "-m", "one")
    return folder, git


def test_the_code_version_is_the_commit(checkout):
    folder, git = checkout
    (folder / "not_tracked.txt").write_text("does not count")
    assert code_version() == git("rev-parse", "HEAD")


def test_changed_files_are_marked_in_the_commit(checkout):
    folder, git = checkout
    (folder / "code.py").write_text("2\n")
    assert code_version() == git("rev-parse", "HEAD") + "+changes"


def test_outside_of_a_checkout_the_version_is_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PROJECT_FOLDER", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert code_version() == "unknown"


def test_without_git_the_version_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert code_version() == "unknown"


def test_the_setting_of_a_run_is_written_in_full(tmp_path):
    config = {"seed": 5, "gpus": 0, "optim": {"algo": {"lr": 1e-05}}, "tag": ["a", "b"]}
    folder = tmp_path / "new" / "folder"
    write_setting(folder, config=config, overrides=["+experiment=x", "optim.algo.lr=1E-5"])
    assert yaml.safe_load((folder / "config.yaml").read_text()) == config
    assert (folder / "overrides").read_text() == "+experiment=x\noptim.algo.lr=1E-5\n"
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["seed"] == 5
    assert environment["git_commit"] == code_version()
    assert environment["device"] == f"cpu, {count(torch.get_num_threads(), 'thread')}"
    assert environment["packages"]["torch"] == metadata.version("torch")
    assert environment.keys() == {
        "git_commit", "seed", "device", "host", "platform", "python", "packages",
    }  # fmt: skip


def test_metrics_are_one_flat_object(tmp_path):
    metrics = {"test_eer_o": 0.25, "tested_checkpoint": None, "tested_step": 3}
    write_metrics(tmp_path, metrics)
    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text) == metrics
    assert text.endswith("}\n")


def test_transcripts_and_scores_are_written_by_set(tmp_path):
    speech = small_speech_objective().evaluation
    speech.transcripts = {
        "clean": [
            Transcript(key="84/1/0", reference="A FOX", hypothesis="A FOX'", num_samples=8000),
            Transcript(key="84/1/1", reference="TEA", hypothesis="", num_samples=200_000),
            Transcript(key="9/1/0", reference="", hypothesis="OH", num_samples=400_000),
        ]
    }
    trials = [Trial(True, "id1/v/1", "id1/v/2"), Trial(False, "id1/v/1", "id2/v/1")]
    speaker = small_speaker_objective().evaluation
    speaker.scored_trials = {"o": ScoredTrials(trials=trials, scores=np.array([0.75, -1 / 3]))}  # type: ignore[attr-defined]
    write_test_outputs(tmp_path, {**speech.test_files(), **speaker.test_files()})
    assert {path.name for path in tmp_path.iterdir()} == {
        "transcripts_clean.tsv",
        "errors_by_speaker_clean.tsv",
        "errors_by_duration_clean.tsv",
        "scores_o.txt",
    }
    assert (tmp_path / "transcripts_clean.tsv").read_text() == (
        "key\treference\thypothesis\n84/1/0\tA FOX\tA FOX'\n84/1/1\tTEA\t\n9/1/0\t\tOH\n"
    )
    columns = "\t".join(
        (
            "num_utterances num_words word_substitutions word_deletions word_insertions wer "
            "num_characters character_substitutions character_deletions character_insertions cer"
        ).split()
    )
    assert (tmp_path / "errors_by_speaker_clean.tsv").read_text() == (
        f"speaker\t{columns}\n"
        "84\t2\t3\t1\t1\t0\t0.666667\t8\t0\t3\t1\t0.500000\n"
        "9\t1\t0\t0\t0\t1\t\t0\t0\t0\t2\t\n"
    )
    assert (tmp_path / "errors_by_duration_clean.tsv").read_text() == (
        f"duration_from_sec\tduration_to_sec\t{columns}\n"
        "0\t2\t1\t2\t1\t0\t0\t0.500000\t5\t0\t0\t1\t0.200000\n"
        "10\t15\t1\t1\t0\t1\t0\t1.000000\t3\t0\t3\t0\t1.000000\n"
        "20\tinf\t1\t0\t0\t0\t1\t\t0\t0\t0\t2\t\n"
    )
    assert (tmp_path / "scores_o.txt").read_text() == (
        "1 0.75 id1/v/1 id1/v/2\n0 -0.333333333 id1/v/1 id2/v/1\n"
    )


def test_files_of_an_earlier_test_are_removed(tmp_path):
    for name in ("transcripts_clean.tsv", "errors_by_speaker_clean.tsv", "scores_o.txt"):
        (tmp_path / name).touch()
    write_test_outputs(tmp_path, {"scores_e.txt": ["1 0.5 a b"]})
    assert [path.name for path in tmp_path.iterdir()] == ["scores_e.txt"]
    assert (tmp_path / "scores_e.txt").read_text() == "1 0.5 a b\n"
