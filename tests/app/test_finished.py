"""A job counts as finished only with a result of the very settings that it is asked for."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from w2v2_mt.app.finished import finished_objective

METRICS = {"val_eer": 0.25, "test_eer_o": 0.5, "tested_step": 8}


def settings(folder: Path, **others: Any) -> dict[str, Any]:
    return {
        "data_folder": str(folder / "data"),
        "log_folder": str(folder / "logs"),
        "temp_folder": str(folder / "temp"),
        "fit_model": True,
        "eval_model": True,
        "load_network_from_checkpoint": None,
        "data": {},
        "seed": 1,
        **others,
    }


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(settings(tmp_path)))
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
    return tmp_path


def test_the_objective_is_the_dev_score_that_was_written(finished):
    assert finished_objective(finished, settings(finished), "train_speaker") == (True, 0.25)


def test_without_training_there_is_a_result_but_no_objective(finished):
    tested = settings(finished, fit_model=False)
    (finished / "config.yaml").write_text(yaml.safe_dump(tested))
    assert finished_objective(finished, tested, "train_speaker") == (True, None)


def test_a_run_without_a_test_is_finished_where_none_is_asked_for(finished):
    (finished / "metrics.json").write_text(json.dumps({"val_eer": 0.25, "tested_step": None}))
    without = settings(finished, eval_model=False)
    (finished / "config.yaml").write_text(yaml.safe_dump(without))
    assert finished_objective(finished, without, "train_speaker") == (True, 0.25)
    assert finished_objective(finished, settings(finished), "train_speaker") == (False, None)


def test_a_result_of_other_settings_is_none_of_this_job(finished):
    other = settings(finished, seed=2)
    assert finished_objective(finished, other, "train_speaker") == (False, None)


@pytest.mark.parametrize("name", ["config.yaml", "metrics.json"])
@pytest.mark.parametrize("content", [None, '{"val_eer": [0.2'])
def test_a_file_that_is_missing_or_cut_off_is_no_result(finished, name, content):
    (finished / name).unlink()
    if content is not None:
        (finished / name).write_text(content)
    assert finished_objective(finished, settings(finished), "train_speaker") == (False, None)
