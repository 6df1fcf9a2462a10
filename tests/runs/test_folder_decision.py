"""What a command does in a folder, for every kind of folder and command."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from w2v2_mt.runs.folder_decision import (
    Action,
    Command,
    FolderContents,
    SavedState,
    decide,
    read_contents,
)

FOLDER = Path("/runs/a")
TESTED = {"val_eer": 0.25, "test_eer_o": 0.5, "tested_step": 8}
UNTESTED = {"val_eer": 0.25, "tested_step": None}


def settings(**changes: Any) -> dict[str, Any]:
    return {
        "data_folder": "/data",
        "log_folder": "/logs",
        "temp_folder": "/temp",
        "fit_model": True,
        "eval_model": True,
        "load_network_from_checkpoint": None,
        "data": {},
        "network": {"stat_pooling_type": "mean"},
        "optim": {"schedule": {"_target_": "w2v2_mt.optim.schedules.TriStage"}},
        "trainer": {"max_steps": 8},
        "seed": 1,
        **changes,
    }


def command(*, is_sweep_job: bool = False, **changes: Any) -> Command:
    return Command(
        config_name="train_speaker", config=settings(**changes), is_sweep_job=is_sweep_job
    )


def contents(
    *, saved: dict[str, Any] | None = None, has_position: bool = True, **facts: Any
) -> FolderContents:
    if "metrics" in facts:
        facts.setdefault("has_metrics_file", True)
    if saved is not None:
        facts["saved"] = SavedState(
            path=FOLDER / "checkpoints" / "last.ckpt",
            global_step=4,
            config_name="train_speaker",
            config=saved,
            has_position=has_position,
        )
    return FolderContents(folder=FOLDER, **facts)


TABLE: dict[str, tuple[Command, FolderContents, Action, str]] = {
    "training in a new folder": (command(), contents(), Action.START, ""),
    "a test in a new folder": (command(fit_model=False), contents(), Action.START, ""),
    "training after a failure before the first checkpoint": (
        command(), contents(config=settings()), Action.START, "",
    ),
    "training after a failure with other settings": (
        command(seed=2), contents(config=settings()), Action.START, "",
    ),
    "training with a checkpoint": (
        command(), contents(config=settings(), saved=settings()), Action.RESUME, "",
    ),
    "training that is finished and is tested again": (
        command(), contents(config=settings(), saved=settings(), metrics=TESTED), Action.RESUME, "",
    ),
    "training with another number of workers": (
        command(num_workers=4), contents(config=settings(), saved=settings(num_workers=2)),
        Action.RESUME, "",
    ),
    "training with another number of workers from a checkpoint without a position": (
        command(num_workers=4),
        contents(config=settings(), saved=settings(num_workers=2), has_position=False),
        Action.REFUSE,
        "the run in /runs/a was started with num_workers=2 (now 4). Resume it with its own "
        "settings (config.yaml), or start another run in another folder, from these weights with "
        "load_network_from_checkpoint=/runs/a/checkpoints/last.ckpt.",
    ),
    "training with other settings than its checkpoint": (
        command(seed=2), contents(config=settings(), saved=settings()), Action.REFUSE,
        "the run in /runs/a was started with seed=1 (now 2). Resume it with its own settings "
        "(config.yaml), or start another run in another folder, from these weights with "
        "load_network_from_checkpoint=/runs/a/checkpoints/last.ckpt.",
    ),
    "training with more steps under a schedule that spans them": (
        command(trainer={"max_steps": 9}), contents(saved=settings()), Action.REFUSE,
        "the run in /runs/a was started with trainer.max_steps=8 (now 9). Resume it with its own "
        "settings (config.yaml), or start another run in another folder, from these weights with "
        "load_network_from_checkpoint=/runs/a/checkpoints/last.ckpt.",
    ),
    "training with more steps under an open-ended schedule": (
        command(
            trainer={"max_steps": 9},
            optim={"schedule": {"_target_": "w2v2_mt.optim.schedules.Constant"}},
        ),
        contents(
            saved=settings(optim={"schedule": {"_target_": "w2v2_mt.optim.schedules.Constant"}})
        ),
        Action.RESUME, "",
    ),
    "training in a moved data folder": (
        command(data_folder="/moved", data={"shards": "/moved/a"}),
        contents(saved=settings(data={"shards": "/data/a"})), Action.RESUME, "",
    ),
    "resumed training that would remove its test": (
        command(eval_model=False),
        contents(config=settings(), saved=settings(), metrics=TESTED), Action.REFUSE,
        "/runs/a holds the result of a test, which eval_model=false would remove. Leave this "
        "setting out to test again, or choose another folder (hydra.run.dir).",
    ),
    "resumed training that has no test": (
        command(eval_model=False),
        contents(config=settings(), saved=settings(), metrics=UNTESTED), Action.RESUME, "",
    ),
    "resumed training without a test over a result that cannot be read": (
        command(eval_model=False),
        contents(
            config=settings(), saved=settings(), has_metrics_file=True,
            unreadable={"metrics.json": "metrics.json is not JSON."},
        ),
        Action.REFUSE, "metrics.json is not JSON.",
    ),
    "training over a result without a checkpoint": (
        command(), contents(config=settings(), metrics=TESTED), Action.REFUSE,
        "/runs/a holds the result of a run that kept no last.ckpt to resume from. Choose another "
        "folder (hydra.run.dir), or move this one away.",
    ),
    "a test over training with a result": (
        command(fit_model=False), contents(config=settings(), metrics=TESTED), Action.REFUSE,
        "/runs/a holds a run that was trained, and fit_model=false would replace its result. "
        "Choose another folder (hydra.run.dir), and to test this run set "
        "load_network_from_checkpoint=/runs/a/checkpoints/best.ckpt.",
    ),
    "a test over training with checkpoints": (
        command(fit_model=False),
        contents(config=settings(), has_checkpoints=True), Action.REFUSE,
        "/runs/a holds a run that was trained, and fit_model=false would replace its result. "
        "Choose another folder (hydra.run.dir), and to test this run set "
        "load_network_from_checkpoint=/runs/a/checkpoints/best.ckpt.",
    ),
    "a test over training that left nothing": (
        command(fit_model=False), contents(config=settings()), Action.START, "",
    ),
    "a test over a test": (
        command(fit_model=False),
        contents(config=settings(fit_model=False), metrics=TESTED), Action.START, "",
    ),
    "neither training nor a test over a test": (
        command(fit_model=False, eval_model=False),
        contents(config=settings(fit_model=False), metrics=TESTED), Action.REFUSE,
        "/runs/a holds the result of a test. Choose another folder (hydra.run.dir), or move this "
        "one away.",
    ),
    "a test over settings that cannot be read": (
        command(fit_model=False),
        contents(unreadable={"config.yaml": "config.yaml is not yaml."}), Action.REFUSE,
        "config.yaml is not yaml.",
    ),
    "a finished sweep job": (
        command(is_sweep_job=True), contents(config=settings(), metrics=TESTED), Action.SKIP,
        "finished before: /runs/a",
    ),
    "a sweep job with other settings than its result": (
        command(is_sweep_job=True, seed=2),
        contents(config=settings(), metrics=TESTED, saved=settings(seed=2)), Action.RESUME, "",
    ),
    "a sweep job under another name": (
        command(is_sweep_job=True, experiment_name="b"),
        contents(config=settings(experiment_name="a"), metrics=TESTED), Action.SKIP,
        "finished before: /runs/a",
    ),
    "a sweep job without a result": (
        command(is_sweep_job=True), contents(config=settings(), saved=settings()), Action.RESUME,
        "",
    ),
    "a sweep job that tests the network of a checkpoint": (
        command(is_sweep_job=True, fit_model=False, load_network_from_checkpoint="/a.ckpt"),
        contents(
            config=settings(
                fit_model=False, load_network_from_checkpoint="/a.ckpt",
                network={"stat_pooling_type": "max"},
            ),
            metrics=TESTED,
        ),
        Action.SKIP, "finished before: /runs/a",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLE)
def test_each_command_has_one_decision_in_each_folder(case):
    request, folder, action, reason = TABLE[case]
    decision = decide(request, folder)
    assert (decision.action, decision.reason) == (action, reason)


@pytest.mark.parametrize(
    ("request_", "metrics", "score"),
    [
        (command(is_sweep_job=True), TESTED, 0.25),
        (command(is_sweep_job=True, eval_model=False), UNTESTED, 0.25),
        (command(is_sweep_job=True), {"tested_step": 8}, None),  # Nothing was validated.
        (command(is_sweep_job=True, fit_model=False), TESTED, None),
    ],
)
def test_a_skipped_job_returns_the_dev_score_of_its_training(request_, metrics, score):
    decision = decide(request_, contents(config=request_.config, metrics=metrics))
    assert decision.action is Action.SKIP
    assert decision.score == score


@pytest.mark.parametrize(
    ("request_", "folder", "removes"),
    [
        (command(), contents(), False),
        (command(), contents(config=settings(), saved=settings(), metrics=TESTED), False),
        (command(evaluation={"a": 1}), contents(config=settings(), saved=settings()), True),
        (command(), contents(unreadable={"config.yaml": "it is not yaml."}), True),
        (command(fit_model=False), contents(config=settings(fit_model=False)), True),
    ],
)
def test_outputs_of_an_earlier_test_are_removed_unless_the_settings_are_the_same(
    request_, folder, removes
):
    assert decide(request_, folder).removes_old_test is removes


def test_at_most_five_changed_settings_are_named():
    changed = {f"key_{number}": number for number in range(7)}
    decision = decide(command(**changed), contents(saved=settings()))
    assert "key_4=not set (now 4), 2 more. Resume" in decision.reason
    assert "key_5" not in decision.reason


def test_the_state_of_a_folder_is_read_from_its_files(tmp_path):
    assert read_contents(tmp_path / "new") == FolderContents(folder=tmp_path / "new")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings()))
    (tmp_path / "metrics.json").write_text(json.dumps(TESTED))
    (tmp_path / "checkpoints").mkdir()
    assert read_contents(tmp_path) == FolderContents(
        folder=tmp_path,
        config=settings(),
        metrics=TESTED,
        has_metrics_file=True,
        has_checkpoints=True,
    )


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json"])
def test_a_truncated_file_is_reported_and_is_not_a_result(tmp_path, name):
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings()))
    (tmp_path / "metrics.json").write_text(json.dumps(TESTED))
    (tmp_path / name).write_text('{"val_eer": [0.2')
    found = read_contents(tmp_path)
    assert list(found.unreadable) == [name]
    assert str(tmp_path / name) in found.unreadable[name]
    assert decide(command(is_sweep_job=True), found).action is not Action.SKIP
