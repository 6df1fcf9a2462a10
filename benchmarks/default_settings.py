"""The settings of a multi-task run, which the benchmarks measure as they are."""

from typing import Any

import hydra

from w2v2_mt.app.environment import PROJECT_FOLDER
from w2v2_mt.app.main import checked

CONFIG_NAME = "train_mt_speaker_speech"


def default_settings(*overrides: str) -> dict[str, Any]:
    """What `run_mt_speech_speaker.py` would use with these overrides on its command line."""
    with hydra.initialize_config_dir(str(PROJECT_FOLDER / "config"), version_base="1.3"):
        return checked(hydra.compose(CONFIG_NAME, list(overrides)), CONFIG_NAME)
