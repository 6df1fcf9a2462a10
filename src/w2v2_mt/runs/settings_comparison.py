"""Compare the settings of a command with those of an earlier run, by their full keys."""

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from w2v2_mt.core.arguments import yaml_text
from w2v2_mt.runs.evaluation_settings import NETWORK_SETTINGS
from w2v2_mt.settings.instantiation import TARGET, Config, find_target, flatten
from w2v2_mt.settings.validation import without_assembly

_FOLDERS = ("data_folder", "temp_folder", "log_folder")
_NAMES_AND_FOLDERS = (
    *_FOLDERS,
    *"project_name experiment_name tag trust data*.prepared_by".split(),
    *"trainer.progress_interval_sec trainer.rendezvous_timeout_sec".split(),
    *"trainer.peak_tflops trainer.power_watts".split(),
)
_MAY_CHANGE_ON_RESUME = (
    *_NAMES_AND_FOLDERS,
    # What a run displays, and what it does in addition to training.
    *"use_wandb trainer.enable_progress_bar trainer.log_every_n_steps".split(),
    *"trainer.skip_non_finite run_lr_range_test lr_range_iterations fit_model eval_model".split(),
    *"trainer.test_precision evaluation.* data*.test_sets.* data*.test_trials.*".split(),
    # The hardware, and the number of steps until the next interruption.
    *"gpus trainer.gpus trainer.devices trainer.num_nodes trainer.strategy".split(),
    "trainer.compile",
    *"*.pin_memory *.val_batch_size *.eval_max_num_samples trainer.step_limit".split(),
    *"remote.* *.remote.*".split(),
)

_NUMBER_OF_WORKERS = ("num_workers", "*.num_workers")

_VALUES_BEFORE = {
    "data.mode": "alternate",
    "network.pack_frames": False,
    "trainer.pack_tasks": False,
}
"""Values that mean the same as in earlier versions, which did not have these settings."""


def training_changes(config: Config, previous: Config, *, has_position: bool) -> list[str]:
    """Describe each setting that shapes training and differs from `previous`.

    Paths are compared relative to `data_folder` and the other folders. `trainer.max_steps` may
    change only if the schedule does not depend on it.

    Args:
        has_position: The checkpoint has the position in the data, from which any number of workers
            continues. Otherwise the order of batches depends on their number.
    """
    schedule = find_target(config["optim"]["schedule"][TARGET])
    max_steps = () if schedule.spans_all_steps else ("trainer.max_steps",)
    num_workers = _NUMBER_OF_WORKERS if has_position else ()
    return _changes(config, previous, (*_MAY_CHANGE_ON_RESUME, *max_steps, *num_workers))


def has_same_settings(config: Config, previous: Config) -> bool:
    """Return True if nothing but names and folders differs.

    A command that only tests a checkpoint takes the settings of the network from the checkpoint, so
    these are not compared.
    """
    may_change = list(_NAMES_AND_FOLDERS)
    if not config["fit_model"] and config["load_network_from_checkpoint"] is not None:
        may_change += [pattern for key in NETWORK_SETTINGS for pattern in (key, f"{key}.*")]
    return not _changes(config, previous, may_change)


def _changes(config: Config, previous: Config, may_change: Sequence[str]) -> list[str]:
    now, before = _comparable(config), _comparable(previous)
    changes = []
    for key in dict.fromkeys([*now, *before]):
        if key in now and key in before and now[key] == before[key]:
            continue
        if key not in before and now[key] in (None, [], _VALUES_BEFORE.get(key)):
            continue  # An earlier version did not have this setting, and did the same.
        if not any(fnmatch(key, pattern) for pattern in may_change):
            was, is_now = (
                yaml_text(each[key]) if key in each else "not set" for each in (before, now)
            )
            changes.append(f"{key}={was} (now {is_now})")
    return changes


def _comparable(config: Config) -> Config:
    """Map full keys to values, with paths relative to the run's folders."""

    def relative(value: Any) -> Any:
        for name in _FOLDERS:
            folder = config.get(name)
            if folder and isinstance(value, str) and Path(value).is_relative_to(folder):
                return f"${{{name}}}/{Path(value).relative_to(folder)}"
        return value

    return {key: relative(value) for key, value in flatten(without_assembly(config)).items()}
