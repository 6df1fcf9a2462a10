"""A run that was finished before, and what it returned: a sweep does not do it a second time."""

import json
from pathlib import Path
from typing import Any

import yaml

from w2v2_mt.app.dev_metric import dev_metric
from w2v2_mt.app.resuming import same_settings
from w2v2_mt.app.run_folder import CONFIG_FILE, METRICS_FILE


def finished_objective(
    folder: Path, config: dict[str, Any], config_name: str
) -> tuple[bool, float | None]:
    """Whether the folder holds the result of a run with these settings, and its dev score.

    The score is None where nothing was trained. Settings that are not of that run (a larger
    step_limit, another test set) make it unfinished: the run then says what goes on from there.
    """
    try:
        metrics = json.loads((folder / METRICS_FILE).read_text())
    except (OSError, ValueError):
        return False, None
    if not was_run_with(folder, config):
        return False, None
    return True, metrics[dev_metric(config_name, config["data"])] if config["fit_model"] else None


def was_run_with(folder: Path, config: dict[str, Any]) -> bool:
    """Whether a run with these settings left what the folder holds."""
    try:
        previous = yaml.safe_load((folder / CONFIG_FILE).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return False
    return isinstance(previous, dict) and same_settings(config, previous)
