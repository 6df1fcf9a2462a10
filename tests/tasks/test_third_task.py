"""A third task is one head, one objective, one part of the data and one yaml."""

import csv
import json
from statistics import mean

import pytest
import torch

from w2v2_mt.app.run import run
from w2v2_mt.core.registry import EVERYTHING, trusting

NAME = "train_mt_speaker_speech"

YAML = """
# @package _global_

network:
  _target_: tests.helpers.speaker_sex.ThreeTaskNetworkSettings

data:
  sex:
    meta_path: ${data_folder}/voxceleb_meta/vox2_meta.csv

assembly:
  data:
    sex:
      _target_: tests.helpers.speaker_sex.SexData
      meta_path: ${data.sex.meta_path}
      corpus: ${data.speaker}
      loading: ${speaker.dataloader}
      selector_train: ${speaker.pipeline.selector_train}
      normaliser: ${speaker.pipeline.normaliser}
      test_durations_sec: []
      score_normalisation: none
      cohort_utterances_per_speaker: 1
      seed: ${seed}
  objectives:
    sex:
      _target_: tests.helpers.speaker_sex.SexObjectiveSettings
"""


@pytest.fixture
def start(small_config, data_folder, tmp_path):
    """Starts a run of four steps with three tasks; returns what the run returns."""
    (tmp_path / "mine" / "experiment").mkdir(parents=True)
    (tmp_path / "mine" / "experiment" / "three_tasks.yaml").write_text(YAML)
    meta = data_folder / "voxceleb_meta" / "vox2_meta.csv"
    meta.parent.mkdir(exist_ok=True)
    speakers = [f"id{number}" for number in (*range(10_051, 10_055), *range(10_101, 10_103))]
    rows = [f"{speaker} ,n0 ,{'fm'[n % 2]} ,dev " for n, speaker in enumerate(speakers)]
    meta.write_text("\n".join(["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set ", *rows]) + "\n")

    def start_run(folder, *overrides):
        with trusting(EVERYTHING):
            config = small_config(
                NAME,
                f"hydra.searchpath=[file://{tmp_path / 'mine'}]",
                "+experiment=three_tasks",
                "trainer.max_steps=4",
                *overrides,
            )
            return run(config, config_name=NAME, folder=folder, overrides=overrides)

    return start_run


def metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_three_tasks_train_validate_test_and_resume(start, tmp_path):
    uninterrupted, interrupted = tmp_path / "uninterrupted", tmp_path / "interrupted"
    score = start(uninterrupted, "optim.loss.scale_method=dwa")
    metrics = metrics_of(uninterrupted)
    rates = mean(metrics[f"val_wer_{name}"] for name in ("clean", "other"))
    expected = mean([rates, metrics["val_eer"], metrics["val_sex_error"]])
    assert score == metrics["val_score"] == pytest.approx(expected)
    assert 0 <= metrics["test_sex_error"] <= 1
    assert len((uninterrupted / "sexes.txt").read_text().splitlines()) > 2
    with (uninterrupted / "metrics.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    logged = {"train_sex_loss", "train_sex_loss_weight", "train_sex_acc", "val_sex_error"}
    assert logged <= set(columns)

    start(interrupted, "optim.loss.scale_method=dwa", "eval_model=false", "trainer.step_limit=2")
    start(interrupted, "optim.loss.scale_method=dwa", "eval_model=false")
    states = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (uninterrupted, interrupted)
    ]
    assert "network.sex_head.linear.weight" in states[0]
    torch.testing.assert_close(states[1], states[0], rtol=0, atol=0)


@pytest.mark.parametrize("scale_method", ["pcgrad", "gradnorm"])
def test_gradient_methods_and_branches_work_for_three_tasks(start, tmp_path, scale_method):
    score = start(
        tmp_path / "run",
        f"optim.loss.scale_method={scale_method}",
        "optim.loss.gradient_diagnostics_every_n_steps=2",
        "network.use_multi_branch_encoder=true",
        "network.num_shared_transformers=2",
        "eval_model=false",
    )
    assert score == metrics_of(tmp_path / "run")["val_score"]
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        columns = next(csv.reader(file))
    assert "train_speech_sex_gradient_cosine" in columns
    state = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert any(".branches.sex." in name for name in state["state_dict"])


def test_three_tasks_train_on_joint_batches(start, tmp_path):
    score = start(
        tmp_path / "run", "data.mode=joint", "optim.loss.scale_method=dwa", "eval_model=false"
    )
    assert score == metrics_of(tmp_path / "run")["val_score"]
    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    # VoxCeleb has two labels and LibriSpeech has another one.
    for row in rows:
        assert bool(row["train_sex_loss"]) == bool(row["train_speaker_loss"])
    assert any(row["train_sex_loss"] for row in rows)
    assert any(row["train_speech_loss"] for row in rows)
