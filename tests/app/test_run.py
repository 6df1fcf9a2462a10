import csv
import json
import math
import shutil
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import yaml

from w2v2_mt.app.build import build_job
from w2v2_mt.app.run import run
from w2v2_mt.core.units import shortest_float32
from w2v2_mt.training.checkpoints import RECORD_KEY

NAME = "train_mt_speaker_speech"


@pytest.fixture
def start(small_config, tmp_path):
    """Starts a multi-task run of a few steps in a folder; returns what the run returns."""

    def start_run(folder: Path, *overrides: str, config_name: str = NAME) -> float | None:
        config = small_config(config_name, *overrides)
        return run(config, config_name=config_name, folder=folder, overrides=overrides)

    return start_run


def metrics_of(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def logged(folder: Path, name: str) -> dict[int, float]:
    """The values of one column of metrics.csv by step."""
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {int(row["step"]): float(row[name]) for row in rows if row.get(name)}


def checkpoint_of(folder: Path, name: str) -> dict:
    return torch.load(folder / "checkpoints" / name, weights_only=True)


def test_a_run_leaves_everything_that_explains_it(start, tmp_path):
    folder = tmp_path / "run"
    score = start(folder, "tag=[a,b]")
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints", "config.yaml", "environment.json", "metrics.csv", "metrics.json",
        "overrides", "report", "scores_e.txt", "scores_h.txt", "scores_o.txt", "scores_val.txt",
        "speed.json", "tensorboard", "transcripts_clean.tsv", "transcripts_other.tsv",
        "errors_by_duration_clean.tsv", "errors_by_duration_other.tsv",
        "errors_by_speaker_clean.tsv", "errors_by_speaker_other.tsv",
    }  # fmt: skip
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    metrics = metrics_of(folder)
    assert metrics["tested_checkpoint"] == str(folder / "checkpoints" / "best.ckpt")
    assert metrics["tested_step"] == 2
    numbers = [value for name, value in metrics.items() if name != "tested_checkpoint"]
    assert all(math.isfinite(value) for value in numbers)
    # No number that was logged in float32 has more digits than float32 holds.
    assert all(value == shortest_float32(value) for value in numbers)
    word_error_rate = (metrics["val_wer_clean"] + metrics["val_wer_other"]) / 2
    assert (
        score == metrics["val_score"] == pytest.approx((word_error_rate + metrics["val_eer"]) / 2)
    )
    assert (folder / "overrides").read_text() == "tag=[a,b]\n"
    transcripts = (folder / "transcripts_other.tsv").read_text().splitlines()
    assert len(transcripts) == 1 + 6


def test_a_checkpoint_holds_the_record_of_its_network(start, tmp_path):
    start(tmp_path / "run")
    record = checkpoint_of(tmp_path / "run", "best.ckpt")[RECORD_KEY]
    assert record["config_name"] == NAME
    assert record["num_speakers"] == len(set(record["speakers"])) == 4
    assert record["config"] == yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert record["metrics"]["val_eer"] == metrics_of(tmp_path / "run")["val_eer"]


@pytest.mark.parametrize(
    ("config_name", "dev_metric"), [("train_speech", "val_wer_other"), ("train_speaker", "val_eer")]
)
def test_a_run_of_one_task_returns_its_dev_metric(start, tmp_path, config_name, dev_metric):
    score = start(tmp_path, config_name=config_name)
    assert score == metrics_of(tmp_path)[dev_metric]


@pytest.mark.parametrize("config_name", ["train_speech", "train_speaker", NAME])
def test_a_callback_may_watch_what_validations_measure(start, small_config, tmp_path, config_name):
    start(tmp_path, config_name=config_name)
    measured = {name for name in metrics_of(tmp_path) if name.startswith("val_")}
    job = build_job(small_config(config_name))
    assert set(job.task.evaluation.validation_names()) == measured


@pytest.mark.parametrize(("config_name", "data"), [("train_speech", "data"), (NAME, "data.speech")])
def test_a_callback_may_watch_what_validation_sets_of_other_names_measure(
    start, tmp_path, config_name, data
):
    settings = [
        f"~{data}.val_sets.clean",
        f"~{data}.val_sets.other",
        f"+{data}.val_sets.mine=dev_other",
    ]
    with pytest.raises(ValueError, match=r"\(val_wer_other\) must be .*val_wer_mine"):
        start(
            tmp_path,
            *settings,
            "callbacks.best_checkpoint.monitor=val_wer_other",
            config_name=config_name,
        )
    score = start(
        tmp_path,
        *settings,
        "callbacks.best_checkpoint.monitor=val_wer_mine",
        "optim/schedule=reduce_on_plateau",
        config_name=config_name,
    )
    metrics = metrics_of(tmp_path)
    assert "val_wer_mine" in metrics
    assert "val_wer_other" not in metrics
    assert score == metrics["val_wer_mine" if config_name == "train_speech" else "val_score"]


def test_validation_sets_are_required(small_config):
    with pytest.raises(ValueError, match="^data: val_sets must name a set"):
        small_config("train_speech", "~data.val_sets.clean", "~data.val_sets.other")


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("callbacks.best_checkpoint.monitor=val_scor", "val_scor"),
        ("callbacks.early_stopping.monitors=[val_eer,val_were]", "val_were"),
        ("callbacks.early_stopping.losses=[test_eer_o]", "test_eer_o"),
    ],
)
def test_an_unknown_monitored_metric_is_reported_before_training(start, tmp_path, override, name):
    with pytest.raises(ValueError, match=rf"of a callback \({name}\) must be "):
        start(tmp_path, "callbacks=mt_early_stopping", override)
    assert not (tmp_path / "checkpoints").exists()


def test_the_seed_decides_the_first_twenty_losses(start, tmp_path):
    names = ["train_speech_loss", "train_speaker_loss"]
    # What draws: masks, dropout, skipped layers, chunks, batches of reading processes.
    settings = [
        "trainer.max_steps=20",
        "trainer.val_check_interval=20",
        "network/regularisation=wav2vec2_default_asr",
        "num_workers=1",
        "eval_model=false",
    ]

    def losses(folder: str, *overrides: str) -> list[dict[int, float]]:
        start(tmp_path / folder, *settings, *overrides)
        return [logged(tmp_path / folder, name) for name in names]

    first = losses("first", "seed=1")
    assert [len(values) for values in first] == [20, 20]
    assert losses("same", "seed=1") == first
    other = losses("other", "seed=2")
    assert all(mine[0] != theirs[0] for mine, theirs in zip(first, other, strict=True))


def test_the_memory_is_logged_with_the_losses(start, tmp_path):
    settings = ["trainer.max_steps=4", "trainer.val_check_interval=4", "eval_model=false"]
    start(tmp_path, *settings, "trainer.log_every_n_steps=2", config_name="train_speech")
    memory = logged(tmp_path, "memory_process_gib")
    assert list(memory) == list(logged(tmp_path, "train_loss")) == [1, 3]
    assert 0.1 < memory[1] <= memory[3]


def test_the_checkpoint_with_the_lowest_dev_score_is_tested(start, tmp_path, monkeypatch):
    # Four validations, of which the second is the best and the last as good, then two tests.
    rates = iter([0.8, 0.3, 0.5, 0.3, 0.6, 0.7])
    monkeypatch.setattr("w2v2_mt.tasks.speech_evaluation.word_error_rate", lambda *_: next(rates))
    score = start(
        tmp_path,
        "trainer.max_steps=4",
        "trainer.val_check_interval=1",
        "~data.val_sets.clean",
        config_name="train_speech",
    )
    metrics = metrics_of(tmp_path)
    assert score == metrics["val_wer_other"] == pytest.approx(0.3)
    assert (metrics["test_wer_clean"], metrics["test_wer_other"]) == pytest.approx((0.6, 0.7))
    assert metrics["tested_step"] == 2
    assert checkpoint_of(tmp_path, "best.ckpt")["global_step"] == 2
    assert checkpoint_of(tmp_path, "last.ckpt")["global_step"] == 4


def test_a_checkpoint_is_tested_without_training(start, tmp_path):
    start(tmp_path / "trained", "optim.algo.lr=0.01", "optim/schedule=constant")
    checkpoint = tmp_path / "trained" / "checkpoints" / "best.ckpt"
    score = start(
        tmp_path / "tested",
        "fit_model=false",
        f"load_network_from_checkpoint={checkpoint}",
        "seed=5",
    )
    assert score is None
    assert metrics_of(tmp_path / "tested") == metrics_of(tmp_path / "trained")
    assert not (tmp_path / "tested" / "checkpoints").exists()

    start(tmp_path / "untrained", "fit_model=false", "seed=5")
    scores = [
        (tmp_path / folder / "scores_o.txt").read_text()
        for folder in ("trained", "tested", "untrained")
    ]
    assert scores[0] == scores[1] != scores[2]
    untrained = metrics_of(tmp_path / "untrained")
    assert (untrained["tested_checkpoint"], untrained["tested_step"]) == (None, 0)


def test_a_run_that_starts_from_a_checkpoint_tests_what_it_trained(start, tmp_path):
    start(tmp_path / "first", "eval_model=false")
    start(
        tmp_path / "second",
        f"load_network_from_checkpoint={tmp_path / 'first' / 'checkpoints' / 'best.ckpt'}",
        "callbacks=none",
        "trainer.max_steps=3",
        "trainer.val_check_interval=3",
    )
    metrics = metrics_of(tmp_path / "second")
    assert (metrics["tested_checkpoint"], metrics["tested_step"]) == (None, 3)


def test_a_run_in_its_old_folder_is_resumed(start, tmp_path, capsys):
    steps = ["trainer.val_check_interval=1", "optim/schedule=constant", "optim.algo.lr=0.001"]
    start(tmp_path, "trainer.max_steps=2", *steps)
    first_losses = logged(tmp_path, "train_loss")
    best = metrics_of(tmp_path)["val_score"]
    capsys.readouterr()

    start(tmp_path, "trainer.max_steps=4", *steps)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]
    assert [line.split(":")[0] for line in lines] == ["step 3", "step 4"]
    last = checkpoint_of(tmp_path, "last.ckpt")
    assert last["global_step"] == 4
    assert {int(state["step"]) for state in last["optimizer_states"][0]["state"].values()} == {4}
    # What was best before counts on.
    assert metrics_of(tmp_path)["val_score"] <= best
    losses = logged(tmp_path, "train_loss")
    assert sorted(losses) == [0, 1, 2, 3]
    assert {step: losses[step] for step in (0, 1)} == first_losses


@pytest.fixture
def first_part(start, tmp_path):
    """The folder of a run of one task that was stopped after two of its four steps."""
    folder = tmp_path / "run"
    start(folder, "trainer.step_limit=2", *FOUR_STEPS, config_name="train_speech")
    return folder


FOUR_STEPS = ["trainer.max_steps=4", "trainer.val_check_interval=1", "eval_model=false"]


def test_a_run_is_resumed_in_a_moved_folder_as_in_its_own(start, first_part, tmp_path, monkeypatch):
    moved = tmp_path / "elsewhere" / "moved"
    shutil.copytree(first_part, moved)
    # The third validation is worse than the best before, the fourth better.
    best_before = checkpoint_of(first_part, "best.ckpt")[RECORD_KEY]["metrics"]["val_wer_other"]
    for folder in (first_part, moved):
        rates = iter([0.0, best_before + 1, 0.0, best_before - 0.1])
        monkeypatch.setattr(
            "w2v2_mt.tasks.speech_evaluation.word_error_rate", lambda *_, rates=rates: next(rates)
        )
        start(folder, "trainer.step_limit=3", *FOUR_STEPS, config_name="train_speech")
        assert checkpoint_of(folder, "best.ckpt")["global_step"] <= 2
        assert checkpoint_of(folder, "last.ckpt")["global_step"] == 3
        start(folder, *FOUR_STEPS, config_name="train_speech")
        assert checkpoint_of(folder, "best.ckpt")["global_step"] == 4
        names = {path.name for path in (folder / "checkpoints").iterdir()}
        assert names == {"best.ckpt", "last.ckpt", "last.previous.ckpt"}
    assert logged(moved, "train_loss") == logged(first_part, "train_loss")
    states = checkpoint_of(moved, "best.ckpt")["callbacks"].values()
    paths = [state["best_model_path"] for state in states if "best_model_path" in state]
    assert {str(Path(path).parent) for path in paths} == {str(moved / "checkpoints")}


def test_a_moved_run_tests_the_best_checkpoint_in_its_folder(start, first_part, tmp_path):
    moved = tmp_path / "moved"
    first_part.rename(moved)
    settings = ["trainer.step_limit=2", *FOUR_STEPS[:2]]
    score = start(moved, *settings, config_name="train_speech")
    metrics = metrics_of(moved)
    assert metrics["tested_checkpoint"] == str(moved / "checkpoints" / "best.ckpt")
    assert score == metrics["val_wer_other"]


def test_a_moved_run_without_its_best_checkpoint_is_refused(start, first_part):
    (first_part / "checkpoints" / "best.ckpt").unlink()
    with pytest.raises(ValueError, match="^there is no .*best.ckpt, the best checkpoint so far. "):
        start(first_part, *FOUR_STEPS, config_name="train_speech")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["seed=1"], "seed=42133724 (now 1)"),
        (["optim.algo.lr=0.5", "tag=x"], "optim.algo.lr=0.0001 (now 0.5)"),
        (["speech.dataloader.max_queue_size=7"], "speech.dataloader.max_queue_size=8 (now 7)"),
        (["trainer.max_steps=5"], "trainer.max_steps=4 (now 5)"),
        (["network.regularisation.layerdrop=0.1"], "network.regularisation.layerdrop=0.0 (now"),
        (
            ["callbacks.learning_rate=null"],
            "callbacks.learning_rate._target_=w2v2_mt.training.callbacks.monitors."
            "learning_rate_monitor (now not set)",
        ),
    ],
)
def test_other_settings_are_refused_on_resume(start, first_part, overrides, named):
    recorded = (first_part / "config.yaml").read_text()
    with pytest.raises(
        ValueError, match=r"was started with .*\. Resume it with its own settings"
    ) as error:
        start(first_part, *FOUR_STEPS, *overrides, config_name="train_speech")
    assert named in str(error.value)
    assert "tag" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert (first_part / "config.yaml").read_text() == recorded


def test_folders_names_and_logging_may_differ_on_resume(start, first_part, data_folder, tmp_path):
    shutil.copytree(data_folder, tmp_path / "data")
    start(
        first_part,
        *FOUR_STEPS,
        f"data_folder={tmp_path / 'data'}",
        f"log_folder={tmp_path / 'logs'}",
        "experiment_name=other",
        "tag=[a,b]",
        "trainer.log_every_n_steps=3",
        config_name="train_speech",
    )
    assert checkpoint_of(first_part, "last.ckpt")["global_step"] == 4


def test_an_open_ended_schedule_can_be_resumed_with_more_steps(start, tmp_path):
    settings = ["optim/schedule=constant", *FOUR_STEPS[1:]]
    start(tmp_path, "trainer.max_steps=1", *settings, config_name="train_speech")
    start(tmp_path, "trainer.max_steps=2", *settings, config_name="train_speech")
    assert checkpoint_of(tmp_path, "last.ckpt")["global_step"] == 2


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is corrupt or not a checkpoint"),
        (b"just a text", "is corrupt or not a checkpoint"),
        (None, "is corrupt or not a checkpoint"),
        ({"weight": torch.ones(1)}, "is not a checkpoint of this project"),
        ([1, 2], "is not a checkpoint of this project"),
    ],
    ids=["empty", "text", "cut off", "weights", "list"],
)
def test_a_file_that_is_not_a_checkpoint_is_reported_before_anything_is_built(
    start, first_part, tmp_path, content, sentence
):
    path = tmp_path / "some.ckpt"
    if content is None:
        path.write_bytes((first_part / "checkpoints" / "last.ckpt").read_bytes()[:-5_000])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        torch.save(content, path)
    with pytest.raises(ValueError, match=f"some.ckpt {sentence}. Name a complete one of") as error:
        start(tmp_path / "new", f"load_network_from_checkpoint={path}")
    assert len(str(error.value).splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_finished_run_is_only_tested_again(start, tmp_path, capsys):
    start(tmp_path)
    metrics = metrics_of(tmp_path)
    capsys.readouterr()
    start(tmp_path)
    assert "step 2:" not in capsys.readouterr().out
    assert metrics_of(tmp_path) == metrics


def test_a_resumed_run_without_a_test_does_not_remove_one(start, tmp_path):
    command = partial(start, tmp_path, config_name="train_speaker")
    command("eval_model=false", "trainer.step_limit=1", "trainer.val_check_interval=1")
    parts = partial(command, "trainer.val_check_interval=1")
    parts("eval_model=false")  # What was not tested may go on so.
    assert metrics_of(tmp_path)["tested_step"] is None
    parts()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match="holds the result of a test, which eval_model=false"):
        parts("eval_model=false")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("override", ["seed=42133724", "callbacks=none"])
def test_a_test_does_not_replace_the_result_of_a_run_that_was_trained(start, tmp_path, override):
    start(tmp_path, override, config_name="train_speaker")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=r"load_network_from_checkpoint=\S+/checkpoints/best.ckpt"):
        start(tmp_path, "fit_model=false", config_name="train_speaker")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (["data.test_trials={o:/nowhere}"], "The trial list .* must exist"),
        (["eval_model=false"], "holds the result of a test. Choose another folder"),
    ],
)
def test_an_impossible_test_keeps_the_earlier_result(start, tmp_path, overrides, sentence):
    start(tmp_path, "fit_model=false", config_name="train_speaker")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    with pytest.raises(ValueError, match=sentence):
        start(tmp_path, "fit_model=false", *overrides, config_name="train_speaker")
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize("fit_model", [True, False])
def test_a_failing_test_removes_the_results_of_other_settings(
    start, tmp_path, monkeypatch, fit_model
):
    command = partial(start, tmp_path, f"fit_model={fit_model}", config_name="train_speaker")
    command()
    assert "test_eer_o" in metrics_of(tmp_path)

    def fail(*_, **__):
        raise ValueError("a test that breaks")

    monkeypatch.setattr(pl.Trainer, "test", fail)
    if fit_model:
        # The same test would leave the same, so there is nothing to be confused.
        with pytest.raises(ValueError, match="a test that breaks"):
            command()
        assert "test_eer_o" in metrics_of(tmp_path)
    with pytest.raises(ValueError, match="a test that breaks"):
        command("evaluation.score_normalisation=as_norm")
    assert not (tmp_path / "metrics.json").exists()
    assert not list(tmp_path.glob("scores_*"))


def test_a_result_is_not_replaced_by_another_run(start, tmp_path):
    start(tmp_path, "callbacks=none")
    before = (tmp_path / "metrics.json").read_bytes()
    with pytest.raises(ValueError, match=r"kept no last\.ckpt to resume from. Choose another"):
        start(tmp_path, "callbacks=none", "seed=7")
    assert (tmp_path / "metrics.json").read_bytes() == before


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            ["load_network_from_checkpoint=/no/file"],
            "no checkpoint /no/file. Name a complete one of",
        ),
        (["gpus=1000"], "gpus=1000, but this machine has .*. Set gpus="),
        # Before data and weights are read.
        (
            ["gpus=1000", "data_folder=/no/folder", "network.wav2vec_huggingface_id=./no"],
            "gpus=1000, but this machine has .*. Set gpus=",
        ),
        (["network.wav2vec_huggingface_id=tiny", "network.reset_weights=false"], "without weights"),
        (["network.num_speaker_dimensions=32"], "Choose 1 to 31 for this encoder"),
        (["num_workers=3"], "must hold at least 3 shards"),
    ],
)
def test_an_impossible_run_is_one_sentence(start, tmp_path, overrides, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        start(tmp_path, *overrides)
    assert len(str(error.value).splitlines()) == 1


def test_the_network_of_another_setting_is_refused(start, tmp_path):
    start(tmp_path / "first", "eval_model=false")
    checkpoint = tmp_path / "first" / "checkpoints" / "best.ckpt"
    with pytest.raises(ValueError, match="is not the one that the settings describe") as error:
        start(
            tmp_path / "second",
            f"load_network_from_checkpoint={checkpoint}",
            "network.use_multi_branch_encoder=true",
            "network.num_shared_transformers=1",
        )
    assert str(checkpoint) in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_a_speaker_head_of_other_speakers_is_refused(start, data_folder, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(data_folder, data)
    settings = [f"data_folder={data}", *FOUR_STEPS]
    start(folder, *settings, "trainer.step_limit=2", config_name="train_speaker")
    meta = data / "vox2_shards" / "train" / "meta.json"
    other = json.loads(meta.read_text())
    other["speakers"][0] = "id99999"
    meta.write_text(json.dumps(other))
    with pytest.raises(
        ValueError, match="with the speakers of the training set: it lacks 'id99999' and has in"
    ):
        start(folder, *settings, config_name="train_speaker")
    checkpoint = folder / "checkpoints" / "last.ckpt"
    with pytest.raises(ValueError, match=f"the speaker head of {checkpoint} was not trained with"):
        start(
            tmp_path / "new",
            *settings,
            f"load_network_from_checkpoint={checkpoint}",
            config_name="train_speaker",
        )


def test_a_checkpoint_is_enough_to_test_its_network(start, data_folder, tmp_path):
    start(
        tmp_path / "trained",
        "network.stat_pooling_type=quantile",
        "network.use_multi_branch_encoder=true",
        "network.num_shared_transformers=1",
        "optim.loss.scale_method=uncertainty",
    )
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    for folder in data.glob("*_shards/train*"):
        shutil.rmtree(folder)
    checkpoint = tmp_path / "trained" / "checkpoints" / "best.ckpt"
    test = [
        "fit_model=false",
        f"load_network_from_checkpoint={checkpoint}",
        f"data_folder={data}",
        "network/regularisation=wav2vec2_none",
    ]
    start(tmp_path / "tested", *test, "evaluation.durations_sec=[0.6]")
    tested, trained = metrics_of(tmp_path / "tested"), metrics_of(tmp_path / "trained")
    limited = {name for name in tested if "_0.6s" in name}
    assert {name: tested[name] for name in tested if name not in limited} == trained
    assert {f"test_{rate}_{name}_0.6s" for rate in ("eer", "mindcf") for name in "oeh"} <= limited
    assert (tmp_path / "tested" / "scores_h_0.6s.txt").read_text() != (
        tmp_path / "tested" / "scores_h.txt"
    ).read_text()
    network = yaml.safe_load((tmp_path / "tested" / "config.yaml").read_text())["network"]
    assert network["stat_pooling_type"] == "quantile"

    with pytest.raises(
        ValueError, match=r"train must hold shards .* They are the cohort of the norm"
    ):
        start(tmp_path / "other", *test, "evaluation.score_normalisation=as_norm")
    with pytest.raises(
        ValueError,
        match=r"best\.ckpt contradicts network\.stat_pooling_type=mean \(in the checkpoint "
        r"quantile\). Leave this out",
    ):
        start(
            tmp_path / "other",
            *test,
            "network.stat_pooling_type=mean",
            "network.num_shared_transformers=1",
        )
    # One of its tasks is tested without the data of the other.
    for config_name, rates, others in (
        ("train_speech", ("test_wer_", "test_cer_"), "vox*_shards*"),
        ("train_speaker", ("test_eer_", "test_mindcf_"), "librispeech_shards"),
    ):
        own_data = tmp_path / config_name / "data"
        shutil.copytree(data, own_data, ignore=shutil.ignore_patterns(others))
        start(tmp_path / config_name, *test, f"data_folder={own_data}", config_name=config_name)
        alone = metrics_of(tmp_path / config_name)
        tested_alone = {name: value for name, value in alone.items() if name.startswith(rates)}
        assert tested_alone == {name: trained[name] for name in trained if name.startswith(rates)}
        assert not {name for name in alone if name.startswith("test_")} - set(trained)

    # Its other task, too, can be left out where the command has both.
    start(tmp_path / "speakers", *test, "data.speech.test_sets={clean:null,other:null}")
    speakers = metrics_of(tmp_path / "speakers")
    assert speakers["test_eer_o"] == trained["test_eer_o"]
    assert not any(name.startswith("test_wer") for name in speakers)


def test_a_checkpoint_of_one_task_is_not_tested_on_others(start, tmp_path):
    start(tmp_path / "trained", "eval_model=false", config_name="train_speaker")
    test = [
        "fit_model=false",
        f"load_network_from_checkpoint={tmp_path / 'trained' / 'checkpoints' / 'best.ckpt'}",
    ]
    for config_name in ("train_speech", "train_mt_speaker_speech"):
        with pytest.raises(
            ValueError, match=r"was trained by run_speaker\.py for speaker\. Test it with that"
        ):
            start(tmp_path / "other", *test, config_name=config_name)


def test_a_checkpoint_of_several_tasks_is_tested_on_one_of_them(start, tmp_path):
    start(tmp_path / "trained")
    checkpoint = tmp_path / "trained" / "checkpoints" / "best.ckpt"
    of_both = metrics_of(tmp_path / "trained")
    for config_name, prefixes in (
        ("train_speech", ("test_wer", "test_cer")),
        ("train_speaker", ("test_eer", "test_mindcf", "test_cllr")),
    ):
        test = ["fit_model=false", f"load_network_from_checkpoint={checkpoint}"]
        start(tmp_path / config_name, *test, config_name=config_name)
        tested = metrics_of(tmp_path / config_name)
        assert {name: value for name, value in tested.items() if name.startswith("test_")} == {
            name: value for name, value in of_both.items() if name.startswith(prefixes)
        }


@pytest.mark.parametrize("normalisation", ["s_norm", "as_norm"])
def test_scores_are_normalised_with_training_speakers(start, tmp_path, normalisation):
    start(tmp_path / "cosines", "fit_model=false", config_name="train_speaker")
    start(
        tmp_path / "normalised",
        "fit_model=false",
        f"evaluation.score_normalisation={normalisation}",
        config_name="train_speaker",
    )
    lines = [
        [line.split() for line in (tmp_path / folder / "scores_o.txt").read_text().splitlines()]
        for folder in ("cosines", "normalised")
    ]
    for cosine, normalised in zip(*lines, strict=True):
        assert (cosine[0], *cosine[2:]) == (normalised[0], *normalised[2:])
        assert cosine[1] != normalised[1]
    assert max(abs(float(line[1])) for line in lines[1]) > 1


def test_a_run_without_a_test_leaves_its_dev_metrics_and_is_tested_later(start, tmp_path):
    folder = tmp_path / "run"
    start(folder, "eval_model=false", config_name="train_speaker")
    untested = metrics_of(folder)
    assert untested["tested_step"] is None
    assert "val_eer" in untested
    assert not any(name.startswith("test_") for name in untested)
    (folder / "scores_o_2s.txt").write_text("of an earlier test")
    start(folder, config_name="train_speaker")
    tested = metrics_of(folder)
    assert {name: tested[name] for name in untested if name.startswith("val_")} == {
        name: value for name, value in untested.items() if name.startswith("val_")
    }
    assert "test_eer_o" in tested
    assert sorted(path.name for path in folder.glob("scores_*")) == [
        "scores_e.txt",
        "scores_h.txt",
        "scores_o.txt",
        "scores_val.txt",
    ]


def test_trials_of_one_label_are_reported_before_training(start, data_folder, tmp_path, capsys):
    shutil.copytree(data_folder, tmp_path / "data")
    trials = tmp_path / "data" / "vox2_shards" / "test" / "test_trials.txt"
    lines = trials.read_text().splitlines(keepends=True)
    trials.write_text("".join(line for line in lines if line.startswith("1")))
    with pytest.raises(
        ValueError, match=r"test_trials\.txt must hold .*, but all 6 have the label 1"
    ):
        start(tmp_path / "run", f"data_folder={tmp_path / 'data'}", config_name="train_speaker")
    assert "step" not in capsys.readouterr().out


def test_a_test_decodes_with_a_beam_and_a_language_model(start, tmp_path):
    model = tmp_path / "model.arpa"
    model.write_text(
        "\\data\\\nngram 1=4\n\n\\1-grams:\n-1.0 <unk>\n-99 <s>\n-0.5 </s>\n-0.2 ZEBRA\n\n\\end\\\n"
    )
    texts = {}
    for decoder in ("greedy", "beam"):
        start(
            tmp_path / decoder,
            "fit_model=false",
            f"evaluation.decoder={decoder}",
            f"evaluation.beam_search.language_model_path={model}",
            "evaluation.beam_search.width=8",
            config_name="train_speech",
        )
        assert metrics_of(tmp_path / decoder)["test_wer_clean"] > 0
        texts[decoder] = (tmp_path / decoder / "transcripts_clean.tsv").read_text()
    assert texts["beam"] != texts["greedy"]


def test_missing_test_shards_are_reported_before_training(start, data_folder, tmp_path, capsys):
    shutil.copytree(data_folder, tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / "librispeech_shards" / "test_other")
    with pytest.raises(ValueError, match="test_other must hold shards .* Run scripts/data"):
        start(tmp_path / "run", f"data_folder={tmp_path / 'data'}")
    assert "step" not in capsys.readouterr().out
    assert not (tmp_path / "run" / "checkpoints").exists()
