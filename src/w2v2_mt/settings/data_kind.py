"""Check that a data config is of the kind of run that a command starts."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from w2v2_mt.settings.instantiation import TARGET

SCRIPTS = {
    "train_speech": "run_speech.py",
    "train_speaker": "run_speaker.py",
    "train_mt_speaker_speech": "run_mt_speech_speaker.py",
}
"""The command of each config of a run."""
_CONFIG_OF_CORPUS = {
    "w2v2_mt.data.speech.SpeechCorpus": "train_speech",
    "w2v2_mt.data.speaker.SpeakerCorpus": "train_speaker",
}
_ENDINGS = {
    "train_speech": "_speech",
    "train_speaker": "_speaker",
    "train_mt_speaker_speech": "_joint",
}
"""The ends of the names of the data configs of one corpus."""


def unfit_data(
    config_name: str, data: Any, *, option: str, options: Collection[str]
) -> Iterator[str]:
    """Yield a sentence if a data config is one for another of the three commands.

    Args:
        config_name: The config of the command, such as `train_speech`.
        data: The composed settings `data`.
        option: The name of the data config.
        options: The names of all data configs.
    """
    if not isinstance(data, Mapping):
        return
    found = _CONFIG_OF_CORPUS.get(str(data.get(TARGET)))
    if found is None and {"speech", "speaker"} <= {*data}:
        found = "train_mt_speaker_speech"
    if found is None or found == config_name or config_name not in SCRIPTS:
        return
    fitting = option.removesuffix(_ENDINGS[found]) + _ENDINGS[config_name]
    advice = f"Give data={fitting}" if fitting in options else "Choose another data config"
    yield (
        f"data={option} must be used with {SCRIPTS[found]}, not with {SCRIPTS[config_name]}. "
        f"{advice}, or start {SCRIPTS[found]}."
    )
