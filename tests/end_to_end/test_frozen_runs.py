"""Log, measure and leave what the golden file holds, in short runs of every kind."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.golden.runs import (
    RESULTS_FILE,
    differing_values,
    perform_runs,
    read_result,
    run_names,
)

GOLDEN_RESULTS = json.loads(RESULTS_FILE.read_text())


@pytest.fixture(scope="module")
def performed_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """The folder with a folder of each frozen run, and what each printed."""
    folder = tmp_path_factory.mktemp("frozen_runs")
    return folder, perform_runs(folder)


@pytest.fixture
def result(performed_runs, name) -> dict[str, Any]:
    """What the run of a name leaves now."""
    folder, outputs = performed_runs
    assert (folder / name / "metrics.json").exists(), outputs[name]
    return read_result(folder / name)


def test_every_frozen_run_has_a_result():
    assert list(GOLDEN_RESULTS) == run_names()


@pytest.mark.parametrize("name", GOLDEN_RESULTS)
def test_losses_and_validation_metrics_of_every_step_are_frozen(result, name):
    assert differing_values(GOLDEN_RESULTS[name]["logged"], result["logged"]) == {}


@pytest.mark.parametrize("name", GOLDEN_RESULTS)
def test_metrics_of_the_tested_checkpoint_are_frozen(result, name):
    assert differing_values(GOLDEN_RESULTS[name]["metrics"], result["metrics"]) == {}


@pytest.mark.parametrize("name", GOLDEN_RESULTS)
def test_files_of_a_run_are_frozen(result, name):
    assert result["files"] == GOLDEN_RESULTS[name]["files"]


RENAMED_COUNTS = {
    "unalignable.total": "objectives.speech.unalignable.total",
    "without_selection.total": "objectives.speaker.without_selection.total",
}
"""Counts of rare events, which belong to the objectives of the tasks since version 0.2."""


@pytest.mark.parametrize("name", GOLDEN_RESULTS)
def test_keys_and_shapes_of_a_saved_network_are_frozen(result, name):
    frozen = {
        RENAMED_COUNTS.get(key, key): shape
        for key, shape in GOLDEN_RESULTS[name]["state_dict"].items()
    }
    present = result["state_dict"]
    added = present.keys() - frozen.keys()
    assert added <= set(RENAMED_COUNTS.values())
    assert {key: shape for key, shape in present.items() if key not in added} == frozen
