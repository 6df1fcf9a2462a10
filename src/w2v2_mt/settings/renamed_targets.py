"""Translate the `_target_` names of settings that an earlier version wrote into today's names."""

from typing import Any

_REMOVED = "w2v2_mt.data.joint.JointData"
"""A class of version 0.1 without a successor: the block is not a node now."""

_OLD_AND_NEW = """
app.callbacks.StopWhenAllStalled training.callbacks.early_stopping.StopWhenAllStalled
app.callbacks.best_checkpoint training.callbacks.best_checkpoint.MovableCheckpoint
app.callbacks training.callbacks.monitors
app.overfitting training.callbacks.overfit
app.profiling training.callbacks.step_profile
app.saving training.callbacks.last_checkpoint
app.trainer.build_trainer training.trainer.TrainerSettings
data.beam_search.BeamSearch decoding.beam_search.BeamSearchSettings
data.beam_search decoding.beam_search
data.librispeech.LibriSpeechData data.speech.SpeechCorpus
data.librispeech data.speech
data.stages data.transforms
data.tokenizer decoding.tokenizer
data.voxceleb.VoxCelebData data.speaker.SpeakerCorpus
data.voxceleb data.speaker
losses.cross_entropy losses.speaker_loss
losses.multi_task.MultiTaskLoss losses.multi_task.MultiTaskLossSettings
models.factory.multi_task_network models.network_settings.MultiTaskNetworkSettings
models.factory.speaker_network models.network_settings.SpeakerNetworkSettings
models.factory.speech_network models.network_settings.SpeechNetworkSettings
optim.algorithms.adam optim.optimizers.Adam
optim.algorithms.sgd optim.optimizers.Sgd
optim.algorithms optim.optimizers
training.callbacks.best_checkpoint.best_checkpoint
    training.callbacks.best_checkpoint.MovableCheckpoint
""".split()
_RENAMED = {
    f"w2v2_mt.{old}": f"w2v2_mt.{new}"
    for old, new in zip(_OLD_AND_NEW[::2], _OLD_AND_NEW[1::2], strict=True)
}
"""Today's path of a class or of a module by its old path."""


def with_current_targets(settings: Any) -> Any:
    """Return settings, or a part of them, with each `_target_` under its present name."""
    if isinstance(settings, list):
        return [with_current_targets(item) for item in settings]
    if not isinstance(settings, dict):
        return settings
    current = {name: with_current_targets(value) for name, value in settings.items()}
    path = current.get("_target_")
    if path == _REMOVED:
        del current["_target_"]
    elif isinstance(path, str):
        module, dot, name = path.rpartition(".")
        current["_target_"] = _RENAMED.get(path, f"{_RENAMED.get(module, module)}{dot}{name}")
    return current
