"""Going on in the folder of a run: only with the settings that the run was started with."""

from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from w2v2_mt.app.folder_taken import FolderTakenError
from w2v2_mt.app.testing import OF_THE_NETWORK
from w2v2_mt.app.value_types import shown

Config = dict[str, Any]

_PLACES = ("data_folder", "temp_folder", "log_folder")
_NAMES_AND_PLACES = (
    *_PLACES,
    "project_name",
    "experiment_name",
    "tag",
)
_MAY_DIFFER = (
    *_NAMES_AND_PLACES,
    # What a run shows, and what it does beside training.
    "use_wandb",
    "trainer.enable_progress_bar",
    "trainer.log_every_n_steps",
    "trainer.skip_non_finite",
    "run_lr_range_test",
    "lr_range_iterations",
    "fit_model",
    "eval_model",
    "evaluation.*",
    "data*.test_sets.*",
    "data*.test_trials.*",
    # On what it computes, and how much of its way it goes now.
    "gpus",
    "trainer.gpus",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "*.pin_memory",
    "*.val_batch_size",
    "*.eval_max_num_samples",
    "trainer.step_limit",
)
_SCHEDULES_WITHOUT_END = (
    "w2v2_mt.optim.schedules.Constant",
    "w2v2_mt.optim.schedules.ReduceOnPlateau",
)
_NUM_NAMED = 5


def check_same_settings(config: Config, previous: Config, *, last: Path) -> None:
    """Raises FolderTakenError where a setting that shapes the training is not that of `previous`.

    `previous` are the settings in `last`, the checkpoint from which the run would go on. Folders
    count by what is below data_folder. More steps are no other training only where the schedule
    does not span them.
    """
    may_differ = [*_MAY_DIFFER]
    if config["optim"]["schedule"]["_target_"] in _SCHEDULES_WITHOUT_END:
        may_differ.append("trainer.max_steps")
    before, now = _flat(previous), _flat(config)
    keys = _differing(now, before, may_differ)
    if keys:
        named = [f"{key}={_told(before, key)} (now {_told(now, key)})" for key in keys[:_NUM_NAMED]]
        if len(keys) > _NUM_NAMED:
            named.append(f"{len(keys) - _NUM_NAMED} more")
        raise FolderTakenError(
            f"the run in {last.parent.parent} was started with {', '.join(named)}; go on with its "
            "settings (config.yaml), or begin another run in another folder, from these weights "
            f"with load_network_from_checkpoint={last}."
        )


def same_settings(config: Config, previous: Config) -> bool:
    """Whether nothing but names and places differs.

    Those of a network that is only tested are its checkpoint's, whatever a command says.
    """
    may_differ = [*_NAMES_AND_PLACES]
    if not config["fit_model"] and config["load_network_from_checkpoint"] is not None:
        may_differ += [pattern for part in OF_THE_NETWORK for pattern in (part, f"{part}.*")]
    return not _differing(_flat(config), _flat(previous), may_differ)


def _differing(now: Config, before: Config, may_differ: Sequence[str]) -> list[str]:
    return [
        key
        for key in dict.fromkeys([*now, *before])
        if before.get(key, _ABSENT) != now.get(key, _ABSENT)
        and not any(fnmatch(key, pattern) for pattern in may_differ)
    ]


_ABSENT = object()


def _told(settings: Config, key: str) -> str:
    return shown(settings[key]) if key in settings else "not set"


def _flat(config: Config) -> Config:
    """Each value by its full key, paths without the places where a run finds and leaves things."""
    return {key: _without_place(value, config) for key, value in _items(config)}


def _items(block: Config, parent: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in block.items():
        key = f"{parent}.{name}" if parent else str(name)
        if isinstance(value, dict):
            yield from _items(value, key)
        else:
            yield key, value


def _without_place(value: Any, config: Config) -> Any:
    for place in _PLACES:
        if isinstance(value, str) and Path(value).is_relative_to(config[place]):
            return f"${{{place}}}/{Path(value).relative_to(config[place])}"
    return value
