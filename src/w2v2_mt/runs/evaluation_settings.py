"""Settings of a test without training: those of the network come from its checkpoint."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from w2v2_mt.core.arguments import yaml_text
from w2v2_mt.settings.data_kind import SCRIPTS
from w2v2_mt.settings.instantiation import TARGET, Config, check_targets, find_setting

NETWORK_SETTINGS = (
    "network optim.loss speech.tokenizer speech.pipeline.normaliser speaker.pipeline.normaliser"
).split()
_LOSSES = {"speech": "optim.loss.ctc_loss", "speaker": "optim.loss.speaker_loss"}
"""The loss of each task in the settings of a run with several tasks."""


def evaluation_settings(
    config: Config,
    trained_config: Config,
    *,
    trained_by: str,
    config_name: str,
    tasks: Sequence[str],
    trained_tasks: Sequence[str],
    overrides: Sequence[str],
    checkpoint: Path,
) -> Config:
    """Replace the settings of the network in a command by those of the checkpoint.

    Options chosen by name, such as an experiment, are replaced silently. A value on the command
    line must equal that of the checkpoint. The checkpoint may only name registered classes.

    Args:
        trained_by: The root config of the command that trained the checkpoint.
        config_name: That of this command, which must be the same or have one of the tasks.
        tasks: The tasks of this command.
        trained_tasks: The tasks that the network of the checkpoint has a head for.
    """
    if trained_by != config_name:
        task = tasks[0]
        if len(tasks) > 1 or task not in trained_tasks or task not in _LOSSES:
            raise ValueError(
                f"{checkpoint} was trained by {SCRIPTS.get(trained_by, trained_by)} for "
                f"{' and '.join(trained_tasks)}. Test it with that instead of "
                f"{SCRIPTS.get(config_name, config_name)}."
            )
        loss = find_setting(trained_config, _LOSSES[task])
        trained_config = {**trained_config, "optim": {**trained_config["optim"], "loss": loss}}
    contradictions = []
    for override in overrides:
        key = override.lstrip("+~").split("=")[0].split("@")[0].replace("/", ".")
        asked, trained = _value(config, key), _value(trained_config, key)
        if asked != trained and key.startswith(tuple(f"{part}." for part in NETWORK_SETTINGS)):
            text = f"{key}={yaml_text(asked)} (in the checkpoint {yaml_text(trained)})"
            contradictions.append(text)
    if contradictions:
        raise ValueError(
            f"the network of {checkpoint} contradicts {', '.join(contradictions)}. Leave this out, "
            "because such settings come from the checkpoint."
        )
    settings = deepcopy(config)
    for part in NETWORK_SETTINGS:
        owner, _, name = part.rpartition(".")
        block = find_setting(settings, owner, {}) if owner else settings
        if name in block:
            block[name] = deepcopy(find_setting(trained_config, part))
            check_targets(block[name], part)
    return settings


def _value(config: Config, key: str) -> Any:
    """Return a value, or the `_target_` of a block, which a group chooses by name."""
    setting = find_setting(config, key)
    return setting.get(TARGET) if isinstance(setting, dict) else setting
