"""The settings of a test without training: those of the network come from its checkpoint."""

from collections.abc import Sequence
from copy import deepcopy
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

from w2v2_mt.app.value_types import shown

if TYPE_CHECKING:  # The settings alone are compared before torch is imported.
    from w2v2_mt.app.trained import TrainedNetwork

Config = dict[str, Any]

OF_THE_NETWORK = (
    "network",
    "optim.loss",
    "speech.tokenizer",
    "speech.pipeline.normaliser",
    "speaker.pipeline.normaliser",
)
_COMMANDS = {
    "train_speech": "run_speech.py",
    "train_speaker": "run_speaker.py",
    "train_mt_speaker_speech": "run_mt_speech_speaker.py",
}


def settings_of_test(
    config: Config,
    trained: "TrainedNetwork",
    *,
    config_name: str,
    overrides: Sequence[str],
    checkpoint: Path,
) -> Config:
    """The settings of a command, but what belongs to the network as the checkpoint has it.

    What was chosen by name, such as an experiment, gives way; a value on the command line that
    is another one than that of the checkpoint does not.

    Raises:
        ValueError: there is such a value, or the checkpoint is of another command.
    """
    if trained.config_name != config_name:
        raise ValueError(
            f"{checkpoint} was trained by {_COMMANDS[trained.config_name]}; test it with that "
            f"instead of {_COMMANDS[config_name]}."
        )
    contradictions = [
        f"{key}={shown(_value(config, key))} "
        f"(in the checkpoint {shown(_value(trained.config, key))})"
        for key in map(_key, overrides)
        if any(key.startswith(f"{part}.") for part in OF_THE_NETWORK)
        and _value(config, key) != _value(trained.config, key)
    ]
    if contradictions:
        raise ValueError(
            f"the network of {checkpoint} contradicts {', '.join(contradictions)}; leave this out, "
            "as such settings come from the checkpoint."
        )
    settings = deepcopy(config)
    for part in OF_THE_NETWORK:
        *path, name = part.split(".")
        block = reduce(lambda outer, key: outer.get(key, {}), path, settings)
        if name in block:
            block[name] = deepcopy(_setting(trained.config, part))
    return settings


def _key(override: str) -> str:
    return override.lstrip("+~").split("=")[0].split("@")[0].replace("/", ".")


def _value(config: Config, key: str) -> Any:
    """Of a block, which a group chooses by name, its `_target_`."""
    setting = _setting(config, key)
    return setting.get("_target_") if isinstance(setting, dict) else setting


def _setting(config: Config, key: str) -> Any:
    """None where there is no such setting."""
    setting: Any = config
    for name in key.split("."):
        setting = setting.get(name) if isinstance(setting, dict) else None
    return setting
