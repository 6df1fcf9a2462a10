"""The dev metric by which a run is judged, from its settings alone."""

from typing import Any

PREFERRED_WORD_ERROR_RATE = "val_wer_other"
"""Or that of the last validation set, where none is called "other"."""


def word_error_rates(data: dict[str, Any]) -> tuple[str, ...]:
    """What the validation sets of a speech corpus are measured by, in their order."""
    return tuple(f"val_wer_{name}" for name in data["val_sets"])


def dev_metric(config_name: str, data: dict[str, Any]) -> str:
    """The metric whose lowest value is the best checkpoint; `data` is the block of the settings."""
    if config_name == "train_speech":
        rates = word_error_rates(data)
        return PREFERRED_WORD_ERROR_RATE if PREFERRED_WORD_ERROR_RATE in rates else rates[-1]
    return {"train_speaker": "val_eer", "train_mt_speaker_speech": "val_score"}[config_name]
