"""Small networks with random weights that tests build on."""

import itertools
from dataclasses import asdict, fields
from typing import Any

from transformers import (
    Data2VecAudioConfig,
    HubertConfig,
    PretrainedConfig,
    Wav2Vec2Config,
    WavLMConfig,
)

from w2v2_mt.models.network_settings import (
    MultiTaskNetworkSettings,
    SpeakerNetworkSettings,
    SpeechNetworkSettings,
)
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.sharing import SHARING_WAYS
from w2v2_mt.models.trunk_settings import TrunkSettings
from w2v2_mt.models.upstream import find_kind, load_config, load_upstream

NO_REGULARISATION = Regularisation(
    activation_dropout=0.0,
    attention_dropout=0.0,
    feat_proj_dropout=0.0,
    hidden_dropout=0.0,
    final_dropout=0.0,
    layerdrop=0.0,
    mask_feature_length=4,
    mask_feature_prob=0.0,
    mask_time_length=3,
    mask_time_prob=0.0,
)

GROUP_NORM = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
RELATIVE = {"num_buckets": 16, "max_bucket_distance": 24}
STACKED = {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 5, "conv_bias": True}

KINDS = {"base": GROUP_NORM, "large": LAYER_NORM}
"""The two sorts of wav2vec2."""

UPSTREAMS: dict[str, tuple[type[PretrainedConfig], dict[str, object]]] = {
    "wav2vec2-base": (Wav2Vec2Config, GROUP_NORM),
    "wav2vec2-large": (Wav2Vec2Config, LAYER_NORM),
    "hubert-base": (HubertConfig, GROUP_NORM),
    "hubert-large": (HubertConfig, LAYER_NORM),
    "hubert-without-norm": (HubertConfig, {**GROUP_NORM, "feat_proj_layer_norm": False}),
    "wavlm-base": (WavLMConfig, {**GROUP_NORM, **RELATIVE}),
    "wavlm-large": (WavLMConfig, {**LAYER_NORM, **RELATIVE}),
    "data2vec-audio": (Data2VecAudioConfig, STACKED),  # type: ignore[dict-item]
}
"""A config class and what makes a small one of a kind."""


def small_config(kind: str, **changes: object) -> PretrainedConfig:
    """Return an upstream of four narrow layers; `kind` is one of UPSTREAMS or KINDS."""
    config_class, of_kind = UPSTREAMS[f"wav2vec2-{kind}" if kind in KINDS else kind]
    settings = {
        "hidden_size": 32,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "conv_dim": [12] * 7,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 4,
        **asdict(NO_REGULARISATION),
        **of_kind,
        **changes,
    }
    return config_class(**settings)


def save_architecture(folder: str, kind: str, **changes: object) -> str:
    """Write the config of a small upstream into a folder, and return its path as an id."""
    small_config(kind, **changes).save_pretrained(folder)
    return str(folder)


def load_small_upstream(
    folder: object,
    *,
    reset_weights: bool = False,
    regularisation: Regularisation = NO_REGULARISATION,
) -> Any:
    """Load the model in a folder as a network does."""
    config = load_config(str(folder), reset_weights=reset_weights)
    config.update(asdict(regularisation))
    return load_upstream(str(folder), config, find_kind(config), reset_weights=reset_weights)


TRUNK = {
    "reset_weights": True,
    "wav2vec_initially_frozen": False,
    "num_frozen_steps": None,
    "completely_freeze_feature_extractor": False,
    "use_gradient_checkpointing": False,
    "layer_weights": "last",
    "regularisation": NO_REGULARISATION,
}

SPEECH_HEAD = {"speech_head_huggingface_id": None, "ctc_bias_init": "zero"}
SPEAKER_HEAD = {
    "stat_pooling_type": "mean",
    "use_cosine_linear": True,
    "num_subcentres": 1,
    "explicit_num_speakers": None,
}
WAYS = {
    "use_multi_branch_encoder": False,
    "num_shared_transformers": 2,
    "num_speaker_dimensions": None,
    "enable_ctc_pool_speaker_embedding": False,
    "enable_ctc_pool_no_grad": True,
    "ctc_pool_on_blank_embeddings": False,
    "ctc_blank_idx": 0,
}
SIZES = {
    "speech": {"num_tokens": 32, "token_statistics": None, "symbols": None},
    "speaker": {"num_speakers": 5},
}
"""The arguments of `build` that a task needs."""


def build_network(settings_class: type[TrunkSettings], keys: dict[str, object]) -> Any:
    """Build a network from flat keys and, among them, sizes."""
    sizes = {name: size for task in settings_class.tasks for name, size in SIZES[task].items()}  # type: ignore[attr-defined]
    settings = {name: value for name, value in keys.items() if name not in sizes}
    sizes |= {name: value for name, value in keys.items() if name in sizes}
    names = {each.name for each in fields(settings_class)}
    own = {name: value for name, value in settings.items() if name in names}
    options = {name: value for name, value in settings.items() if name not in names}
    return settings_class(**own, options=options).build(**sizes)  # type: ignore[attr-defined]


def small_speech_network(architecture: str, **changes: object) -> SpeechNetwork:
    """Build a speech network with changed settings."""
    keys = {"wav2vec_huggingface_id": architecture, **TRUNK, **SPEECH_HEAD, **changes}
    return build_network(SpeechNetworkSettings, keys)


def small_speaker_network(architecture: str, **changes: object) -> SpeakerNetwork:
    """Build a speaker network with changed settings."""
    keys = {"wav2vec_huggingface_id": architecture, **TRUNK, **SPEAKER_HEAD}
    keys |= {"random_permutation_mode": None, **changes}
    return build_network(SpeakerNetworkSettings, keys)


def small_multi_task_network(architecture: str, **changes: object) -> MultiTaskNetwork:
    """Build a multi-task network with changed settings."""
    keys = {"wav2vec_huggingface_id": architecture, **TRUNK, **SPEECH_HEAD, **SPEAKER_HEAD}
    return build_network(MultiTaskNetworkSettings, {**keys, **WAYS, **changes})


SHARING = {
    "branched": {"use_multi_branch_encoder": True},
    "split": {"num_speaker_dimensions": 12},
    "ctc_pool": {"enable_ctc_pool_speaker_embedding": True},
    "layer_weights": {"layer_weights": "learned"},
}
"""The settings that choose each registered way of sharing."""


def sharing_combinations(*sizes: int) -> dict[str, dict[str, object]]:
    """Return the settings of all combinations of this many ways of sharing, by joined names."""
    names = SHARING_WAYS.names
    assert set(SHARING) == set(names)
    return {
        "_".join(subset) or "plain": {
            key: value
            for name in subset
            for key, value in SHARING[name].items()  # type: ignore[attr-defined]
        }
        for size in sizes or range(len(names) + 1)
        for subset in itertools.combinations(names, size)
    }
