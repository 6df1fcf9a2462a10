"""Settings of a command line that have no effect, because another setting switches them off."""

from collections.abc import Collection
from fnmatch import fnmatch
from typing import Any

from w2v2_mt.core.arguments import yaml_text
from w2v2_mt.settings.instantiation import Config, find_setting

_STEPS: dict[str, list[Any]] = {"fit_model": [True], "run_lr_range_test": [True]}
"""A learning-rate range test does training steps as well."""
_SCALE_METHOD = "optim.loss.scale_method"
_NORMALISATION = "evaluation.score_normalisation"

_NEEDS: list[tuple[str, dict[str, list[Any]]]] = [
    ("evaluation trainer.test_precision data*.test_sets data*.test_trials", {"eval_model": [True]}),
    (
        "callbacks optim.schedule trainer.max_steps trainer.step_limit trainer.val_check_interval "
        "trainer.log_every_n_steps trainer.progress_interval_sec data*.val_set data*.val_sets "
        "data*.val_trials",
        {"fit_model": [True]},
    ),
    (
        "optim.algo trainer.accumulate_grad_batches trainer.pack_tasks trainer.gradient_clip_val "
        "trainer.skip_non_finite trainer.overfit_batches speech.dataloader.train_max_num_samples "
        "speech.dataloader.max_queue_size speaker.dataloader.train_batch_size "
        "speaker.dataloader.shuffle_queue_size speaker.pipeline.selector_train data.mode "
        "data.weights",
        _STEPS,
    ),
    ("speaker.dataloader.train_batch_size trainer.pack_tasks", {"data.mode": ["alternate"]}),
    (
        # A new network has the size of its training data, and a cohort consists of them.
        "data*.train_set data*.train_sets",
        {
            **_STEPS,
            _NORMALISATION: ["s_norm", "as_norm"],
            "load_network_from_checkpoint": [None],
        },
    ),
    ("trainer.precision", {**_STEPS, "trainer.test_precision": ["training"]}),
    ("lr_range_iterations", {"run_lr_range_test": [True]}),
    ("evaluation.beam_search", {"evaluation.decoder": ["beam"]}),
    ("evaluation.cohort_size", {_NORMALISATION: ["as_norm"]}),
    ("evaluation.cohort_utterances_per_speaker", {_NORMALISATION: ["s_norm", "as_norm"]}),
    ("network.num_frozen_steps", {"network.wav2vec_initially_frozen": [True]}),
    ("network.num_shared_transformers", {"network.use_multi_branch_encoder": [True]}),
    (
        "network.enable_ctc_pool_no_grad network.ctc_pool_on_blank_embeddings",
        {"network.enable_ctc_pool_speaker_embedding": [True]},
    ),
    (
        "network.speech_head_huggingface_id network.ctc_bias_init",
        {"load_network_from_checkpoint": [None]},
    ),
    ("optim.loss.static_speech_weight", {_SCALE_METHOD: ["static"]}),
    ("optim.loss.dwa_*", {_SCALE_METHOD: ["dwa"]}),
    ("optim.loss.weight_lr", {_SCALE_METHOD: ["uncertainty", "gradnorm"]}),
    ("optim.loss.gradnorm_alpha", {_SCALE_METHOD: ["gradnorm"]}),
]
"""Patterns of settings or groups, and the keys, with their values, of which these need one."""


def unused_settings(keys: Collection[str], config: Config) -> dict[str, str]:
    """Return a sentence for each of the keys that has no effect in these settings."""
    found = {}
    for key in keys:
        place = f"{key.replace('/', '.')}."
        for patterns, needs in _NEEDS:
            # A setting that a command does not have switches nothing off.
            present = {other: find_setting(config, other, needs[other][0]) for other in needs}
            is_used = any(value in needs[other] for other, value in present.items())
            if is_used or not any(fnmatch(place, f"{each}.*") for each in patterns.split()):
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
