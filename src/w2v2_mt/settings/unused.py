"""Settings of a command line that have no effect, because another setting switches them off."""

from collections.abc import Collection, Mapping
from typing import Any

from w2v2_mt.core.arguments import yaml_text
from w2v2_mt.settings.instantiation import Config, find_setting

_WEIGHTS = {
    "static_speech_weight": ["static"],
    "dwa_weight_sum": ["dwa"],
    "dwa_temperature": ["dwa"],
    "dwa_window": ["dwa"],
    "weight_lr": ["uncertainty", "gradnorm"],
    "gradnorm_alpha": ["gradnorm"],
}
_OF_TRAINING = (
    "callbacks optim.schedule trainer.max_steps trainer.step_limit trainer.val_check_interval "
    "trainer.log_every_n_steps"
).split()
_OF_STEPS = (
    "optim.algo trainer.accumulate_grad_batches trainer.gradient_clip_val trainer.skip_non_finite "
    "trainer.overfit_batches speech.dataloader.train_max_num_samples "
    "speech.dataloader.max_queue_size speaker.dataloader.train_batch_size "
    "speaker.dataloader.shuffle_queue_size speaker.pipeline.selector_train"
).split()
"""Settings of training steps, which a learning-rate range test does as well."""
_STEPS: dict[str, list[Any]] = {"fit_model": [True], "run_lr_range_test": [True]}
_CTC_POOL = {"network.enable_ctc_pool_speaker_embedding": [True]}

_NEEDS: dict[str, Mapping[str, list[Any]]] = {
    "evaluation": {"eval_model": [True]},
    "trainer.test_precision": {"eval_model": [True]},
    "lr_range_iterations": {"run_lr_range_test": [True]},
    "evaluation.beam_search": {"evaluation.decoder": ["beam"]},
    "evaluation.cohort_size": {"evaluation.score_normalisation": ["as_norm"]},
    "evaluation.cohort_utterances_per_speaker": {
        "evaluation.score_normalisation": ["s_norm", "as_norm"]
    },
    "network.num_frozen_steps": {"network.wav2vec_initially_frozen": [True]},
    "network.num_shared_transformers": {"network.use_multi_branch_encoder": [True]},
    "network.enable_ctc_pool_no_grad": _CTC_POOL,
    "network.ctc_pool_on_blank_embeddings": _CTC_POOL,
    **{f"optim.loss.{name}": {"optim.loss.scale_method": each} for name, each in _WEIGHTS.items()},
    **{key: {"fit_model": [True]} for key in _OF_TRAINING},
    **dict.fromkeys(_OF_STEPS, _STEPS),
    "trainer.precision": {**_STEPS, "trainer.test_precision": ["training"]},
}
"""The keys, with their values, of which a setting or all settings below a key need one."""


def unused_settings(keys: Collection[str], config: Config) -> dict[str, str]:
    """Return a sentence for each of the keys that has no effect in these settings."""
    found = {}
    for key in keys:
        for owner, needs in _NEEDS.items():
            if not f"{key.replace('/', '.')}.".startswith(f"{owner}."):
                continue
            present = {other: find_setting(config, other) for other in needs}
            if any(value in needs[other] for other, value in present.items()):
                continue
            reasons = [f"{other} is {yaml_text(value)}" for other, value in present.items()]
            remedies = [
                f"{other}={' or '.join(map(yaml_text, values))}" for other, values in needs.items()
            ]
            found[key] = (
                f"{key} has no effect, because {' and '.join(reasons)}. Set "
                f"{' or '.join(remedies)}, or leave {key} out."
            )
            break
    gpus, used = config["gpus"], config["trainer"]["gpus"]
    if "gpus" in keys and gpus != used:
        found["gpus"] = (
            f"gpus ({gpus}) has no effect, because trainer.gpus is {used}. Set one of the two only."
        )
    return found
