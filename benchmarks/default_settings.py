"""The settings of a multi-task run, which the benchmarks measure as they are."""

from typing import Any

import hydra

from w2v2_mt.settings.environment import PROJECT_FOLDER
from w2v2_mt.settings.validation import check_settings

CONFIG_NAME = "train_mt_speaker_speech"


def random_upstream(architecture: str, *overrides: str) -> dict[str, Any]:
    """Return the settings of an upstream with random weights, without gradient checkpointing."""
    return default_settings(
        f"network.wav2vec_huggingface_id={architecture}",
        "network.reset_weights=true",
        "network.use_gradient_checkpointing=false",
        *overrides,
    )


def default_settings(*overrides: str) -> dict[str, Any]:
    """Return the settings of `run_mt_speech_speaker.py` with these overrides."""
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        return check_settings(hydra.compose(CONFIG_NAME, list(overrides)))
