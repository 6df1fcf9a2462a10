"""Settings of a command line that have no effect, because another setting switches them off."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

_WEIGHTS = {
    "static_speech_weight": ["static"],
    "dwa_weight_sum": ["dwa"],
    "dwa_temperature": ["dwa"],
    "dwa_window": ["dwa"],
    "weight_lr": ["uncertainty", "gradnorm"],
    "gradnorm_alpha": ["gradnorm"],
}
_NEEDS: dict[str, tuple[str, Sequence[Any]]] = {
    "evaluation": ("eval_model", [True]),
    "lr_range_iterations": ("run_lr_range_test", [True]),
    "evaluation.beam_search": ("evaluation.decoder", ["beam"]),
    "evaluation.cohort_size": ("evaluation.score_normalisation", ["as_norm"]),
    "evaluation.cohort_utterances_per_speaker": (
        "evaluation.score_normalisation",
        ["s_norm", "as_norm"],
    ),
    "network.num_frozen_steps": ("network.wav2vec_initially_frozen", [True]),
    "network.num_shared_transformers": ("network.use_multi_branch_encoder", [True]),
    "network.enable_ctc_pool_no_grad": ("network.enable_ctc_pool_speaker_embedding", [True]),
    "network.ctc_pool_on_blank_embeddings": ("network.enable_ctc_pool_speaker_embedding", [True]),
    **{
        f"optim.loss.{name}": ("optim.loss.scale_method", methods)
        for name, methods in _WEIGHTS.items()
    },
}
"""The key, with its values, that a setting or all settings below a key need to have an effect."""


def unused_settings(keys: Collection[str], config: Mapping[str, Any]) -> dict[str, str]:
    """Return a sentence for each of the keys that has no effect in these settings."""
    found = {}
    for key in keys:
        for owner, (other, values) in _NEEDS.items():
            if key != owner and not key.startswith(f"{owner}."):
                continue
            present = _look_up(config, other)
            if present in values:
                continue
            choices = " or ".join(_spell(value) for value in values)
            found[key] = (
                f"{key} has no effect, because {other} is {_spell(present)}. Set "
                f"{other}={choices}, or leave {key} out."
            )
            break
    gpus, used = config["gpus"], config["trainer"]["gpus"]
    if "gpus" in keys and gpus != used:
        found["gpus"] = (
            f"gpus ({gpus}) has no effect, because trainer.gpus is {used}. Set one of the two only."
        )
    return found


def _look_up(config: Any, key: str) -> Any:
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def _spell(value: Any) -> str:
    return {None: "null", True: "true", False: "false"}.get(value, str(value))
