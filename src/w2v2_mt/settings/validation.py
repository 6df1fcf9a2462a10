"""Check the settings of a run: first their keys, then the objects that they describe.

The node `assembly` of a command refers to every setting that a run builds something from. A key
that neither it nor `RunSettings` names is an error.
"""

import copy
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from w2v2_mt.core.addresses import check_address, is_remote
from w2v2_mt.core.arguments import (
    ConfigError,
    check_arguments,
    join_key,
    raise_problems,
    unknown_key,
)
from w2v2_mt.core.constraints import NonNegativeInt, PositiveInt, Seed
from w2v2_mt.core.registry import EVERYTHING, trusting
from w2v2_mt.core.units import count
from w2v2_mt.settings.dev_metric import preferred_set
from w2v2_mt.settings.environment import experiment_name, find_wandb_login, load_environment
from w2v2_mt.settings.instantiation import TARGET, Config, flatten, instantiate, reference_of, walk
from w2v2_mt.settings.overrides import drop_null_sets

ASSEMBLY = "assembly"

_DOTTED_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_GROUPS_TO_ADD = ("+experiment", "+debug", "+size")
"""Candidates for an unknown key at the top level."""
_MIN_SECRET_LENGTH = 20
"""A shorter value is not a key of wandb or Hugging Face, and may occur in a setting by chance."""


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """The settings at the top that describe the run as a whole."""

    data_folder: str
    temp_folder: str
    log_folder: str
    seed: Seed
    run_lr_range_test: bool
    lr_range_iterations: PositiveInt
    fit_model: bool
    eval_model: bool
    load_network_from_checkpoint: str | None
    use_wandb: bool
    gpus: NonNegativeInt
    num_workers: NonNegativeInt
    remote: dict[str, Any]
    max_eval_items: PositiveInt | None
    project_name: str
    experiment_name: str
    tag: str | list[str] | None
    trust: list[str]


_TOP = [field.name for field in fields(RunSettings)]


def _name_experiment() -> str:
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        job = HydraConfig.get().job
        return experiment_name(None if OmegaConf.is_missing(job, "num") else int(job.num))
    return experiment_name(None)


def _speech_corpus(root: DictConfig) -> DictConfig:
    return root.data.get("speech") or root.data


def _find_dev_set(*, _root_: DictConfig) -> str:
    """Return the name of the speech validation set that callbacks monitor."""
    sets = _speech_corpus(_root_).get("val_sets") or {}
    return preferred_set([name for name in sets if sets[name] is not None])


def _find_vocabulary(*, _root_: DictConfig) -> str | None:
    """Return the path of the vocabulary of the speech corpus, if it has one of its own."""
    corpus = _speech_corpus(_root_)
    name = corpus.get("vocabulary")
    return None if name is None else str(Path(corpus.shards_folder, name))


# The yaml files refer to these variables and to these resolvers.
load_environment()
OmegaConf.register_new_resolver("experiment_name", _name_experiment, replace=True)
OmegaConf.register_new_resolver("dev_set", _find_dev_set, replace=True)
OmegaConf.register_new_resolver("vocabulary", _find_vocabulary, replace=True)


def check_settings(config: DictConfig) -> Config:
    """Return the settings as plain values; only the node `assembly` keeps its references."""
    settings = check_keys(config)
    raise_problems([*_missing_vocabulary(config), *_logins(settings)])
    problems: list[str] = []
    try:
        check_arguments(RunSettings, {name: settings[name] for name in _TOP if name in settings})
    except ConfigError as error:
        problems += error.problems
    try:
        with trusting(EVERYTHING):  # The user wrote these settings.
            instantiate(settings[ASSEMBLY], settings=settings, key=ASSEMBLY)
    except ConfigError as error:
        problems += error.problems
    raise_problems(problems)
    raise_problems(_conflicts(settings))
    return settings


def _missing_vocabulary(config: DictConfig) -> Iterator[str]:
    """Yield a sentence if the vocabulary of the corpus, which the run reads, does not exist."""
    tokenizer_path = OmegaConf.select(config, "speech.tokenizer.vocabulary_path")
    if tokenizer_path is None or tokenizer_path != _find_vocabulary(_root_=config):
        return
    root = _speech_corpus(config).shards_folder
    if is_remote(root):
        yield (
            f"speech.tokenizer.vocabulary_path must be a file on this machine, since the corpus is "
            f"at {root}. Copy its vocabulary, and set the path."
        )
    elif not Path(tokenizer_path).exists():
        producer = _speech_corpus(config).get("prepared_by")
        yield f"{tokenizer_path} must exist. Run {producer} or set DATA_FOLDER."


def _logins(settings: Config) -> Iterator[str]:
    """Yield a sentence for each address with credentials, which would be recorded."""
    for key, value in flatten(settings).items():
        for each in value if isinstance(value, list) else [value]:
            try:
                if isinstance(each, str) and is_remote(each):
                    check_address(each)
            except ValueError as error:
                yield f"{key}: {error}"


def check_keys(config: DictConfig) -> Config:
    """Return the settings as plain values after a check of their keys, which imports nothing."""
    try:
        config = copy.deepcopy(config)
        with open_dict(config):
            assembly = OmegaConf.to_container(config.pop(ASSEMBLY), resolve=False)
        settings: Any = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        first_line = str(error).splitlines()[0]
        raise ConfigError(f"The settings cannot be put together: {first_line}.") from error
    drop_null_sets(settings.get("data"))
    references = {reference for _, part in walk(assembly) if (reference := reference_of(part))}
    raise_problems(_unknown_keys(settings, [*_TOP, *sorted(references)]))
    return {**settings, ASSEMBLY: assembly}


def without_assembly(settings: Config) -> Config:
    """Return the settings that are stored and compared: all but how a run is assembled."""
    return {name: value for name, value in settings.items() if name != ASSEMBLY}


def find_trusted(settings: Config) -> set[str]:
    """Return all dotted names in the user's own settings, and the packages in `trust`.

    A checkpoint that the run loads may name these classes too, but no others of their packages.
    """
    texts = (part for _, part in walk(settings) if isinstance(part, str))
    return {text for text in texts if _DOTTED_NAME.fullmatch(text)} | set(settings["trust"])


def _unknown_keys(block: Config, read: Sequence[str], owner: str = "") -> Iterator[str]:
    """Yield a sentence for each key that a run does not read."""
    prefix = join_key(owner, "") if owner else ""
    known = [key.removeprefix(prefix).split(".")[0] for key in read if key.startswith(prefix)]
    for name, value in block.items():
        key = f"{prefix}{name}"
        if name not in known:
            names = [*dict.fromkeys(known)]
            yield unknown_key(key, owner, names if owner else [*names, *_GROUPS_TO_ADD])
        elif isinstance(value, dict) and TARGET not in value and key not in read:
            yield from _unknown_keys(value, read, key)


def _conflicts(config: Config) -> Iterator[str]:
    # Settings are stored and sent to loggers.
    for key, value in flatten(config).items():
        for variable in ("WANDB_API_KEY", "HF_TOKEN"):
            secret = os.environ.get(variable, "")
            if len(secret) >= _MIN_SECRET_LENGTH and secret in str(value):
                yield f"{key} must not hold the value of {variable}. Remove it from the settings."
    for key in ("data_folder", "temp_folder", "log_folder"):
        if config[key].startswith("~"):
            yield f"{key} ({config[key]}) must not begin with ~. Write a full path, or $HOME."
    if config["use_wandb"] and find_wandb_login(os.environ) is None:
        yield (
            "use_wandb (true) must have an account. Set WANDB_API_KEY in .env, log in with `wandb "
            "login`, set WANDB_MODE=offline, or set use_wandb=false."
        )
    network, max_steps = config["network"], config["trainer"]["max_steps"]
    num_frozen_steps = network["num_frozen_steps"]
    is_unfrozen = not network["wav2vec_initially_frozen"] or (
        num_frozen_steps is not None and num_frozen_steps < max_steps
    )
    method = config["optim"]["loss"].get("scale_method")
    if method is None or is_unfrozen:
        return
    # Here, because the registry imports torch.
    from w2v2_mt.losses.weighting import WEIGHTINGS

    with trusting(EVERYTHING):  # The user wrote these settings.
        needs_gradients = WEIGHTINGS.find(method).needs_task_gradients
    if needs_gradients:
        yield (
            f"optim.loss.scale_method ({method}) must have a trainable encoder, but it is frozen "
            f"for all {count(max_steps, 'step')}. Lower network.num_frozen_steps or choose "
            "another method."
        )
