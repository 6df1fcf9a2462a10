import json

import numpy as np
import pytest

from w2v2_mt.runs.run_folder import RunFolder
from w2v2_mt.tasks.transcripts import Transcript


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text("seed: 5\noptim: {algo: {lr: 1.0e-4}}\n")
    return tmp_path


def test_what_a_run_has_not_left_yet_is_empty(folder):
    run = RunFolder(folder)
    assert run.config == {"seed": 5, "optim": {"algo": {"lr": 1e-4}}}
    assert (run.overrides, run.environment, run.metrics, run.curves) == ([], {}, {}, {})
    assert (run.transcripts(), run.trial_scores(), run.table("errors_by_speaker_")) == ({}, {}, {})
    assert run.error is None


def test_what_was_written_is_read(folder):
    (folder / "overrides").write_text("a=1\nb=2\n")
    (folder / "metrics.json").write_text(json.dumps({"test_wer_clean": 0.5, "tested_step": 3}))
    (folder / "transcripts_clean.tsv").write_text("key\treference\thypothesis\n1/2/3\tA B\t\n")
    (folder / "scores_o.txt").write_text("1 0.5 a/b/c a/d/e\n0 -0.25 a/b/c f/g/h\n")
    (folder / "errors_by_speaker_clean.tsv").write_text("speaker\twer\n84\t0.25\n")
    (folder / "error.txt").write_text("Traceback\n  File\nValueError: too much\n")
    run = RunFolder(folder)
    assert run.overrides == ["a=1", "b=2"]
    assert run.metrics == {"test_wer_clean": 0.5, "tested_step": 3}
    assert run.transcripts() == {"clean": [Transcript(key="1/2/3", reference="A B", hypothesis="")]}
    scores = run.trial_scores()["o"]
    np.testing.assert_array_equal(scores.labels, [1, 0])
    np.testing.assert_array_equal(scores.scores, [0.5, -0.25])
    assert (scores.left_keys, scores.right_keys) == (["a/b/c", "a/b/c"], ["a/d/e", "f/g/h"])
    assert run.table("errors_by_speaker_") == {"clean": [{"speaker": "84", "wer": "0.25"}]}
    assert run.error == "ValueError: too much"


def test_curves_are_by_name_and_leave_out_a_line_that_is_being_written(folder):
    (folder / "metrics.csv").write_text(
        "epoch,step,train_loss_step,val_eer\n0,4,2.5,\n,2,3.5,\n0,4,,0.25\n0,6,1."
    )
    assert RunFolder(folder).curves == {"train_loss": [(2, 3.5), (4, 2.5)], "val_eer": [(4, 0.25)]}


@pytest.mark.parametrize(
    ("name", "text", "read", "message"),
    [
        ("metrics.json", '{"a": ', lambda run: run.metrics, "metrics.json is not JSON"),
        ("config.yaml", "a: [1", lambda run: run.config, "config.yaml is not yaml"),
        ("config.yaml", "", lambda run: run.config, "config.yaml holds no settings"),
        ("metrics.json", "[1]", lambda run: run.metrics, "metrics.json does not map names"),
        ("metrics.csv", "step,a\n1,x\n", lambda run: run.curves, "has a line that cannot be read"),
        ("scores_o.txt", "1 0.5 a", lambda run: run.trial_scores(), "has a line that is not label"),
        ("scores_o.txt", "1 x a b", lambda run: run.trial_scores(), "a score that is not a number"),
        ("transcripts_a.tsv", "key\n", lambda run: run.transcripts(), "has 1 column in line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported_in_a_sentence(folder, name, text, read, message):
    (folder / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read(RunFolder(folder))


def test_another_folder_is_not_a_run(tmp_path):
    with pytest.raises(ValueError, match=r"is not a run folder, which holds a config.yaml. Give"):
        RunFolder(tmp_path)
