"""Small networks with random weights that tests build on."""

from dataclasses import asdict

from transformers import (
    Data2VecAudioConfig,
    HubertConfig,
    PretrainedConfig,
    Wav2Vec2Config,
    WavLMConfig,
)

from w2v2_mt.models.factory import multi_task_network, speaker_network, speech_network
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.models.regularisation import Regularisation

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
"""The two kinds of wav2vec2."""

UPSTREAMS: dict[str, tuple[type[PretrainedConfig], dict[str, object]]] = {
    "wav2vec2-base": (Wav2Vec2Config, GROUP_NORM),
    "wav2vec2-large": (Wav2Vec2Config, LAYER_NORM),
    "hubert-base": (HubertConfig, GROUP_NORM),
    "hubert-large": (HubertConfig, LAYER_NORM),
    "hubert-without-norm": (HubertConfig, {**GROUP_NORM, "feat_proj_layer_norm": False}),
    "wavlm-base": (WavLMConfig, {**GROUP_NORM, **RELATIVE}),
    "wavlm-large": (WavLMConfig, {**LAYER_NORM, **RELATIVE}),
    "data2vec-audio": (Data2VecAudioConfig, STACKED),
}
"""A config class and what makes a small one of a kind."""


def small_config(kind: str, **changes: object) -> PretrainedConfig:
    """An upstream of four narrow layers; `kind` is one of UPSTREAMS or, for wav2vec2, of KINDS."""
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


TRUNK = {
    "reset_weights": True,
    "wav2vec_initially_frozen": False,
    "num_frozen_steps": None,
    "completely_freeze_feature_extractor": False,
    "use_gradient_checkpointing": False,
    "layer_weights": "last",
    "regularisation": NO_REGULARISATION,
}


LETTERS = {
    "speech_head_huggingface_id": None,
    "ctc_bias_init": "zero",
    "num_letters": 32,
    "letter_statistics": None,
}


def small_speech_network(architecture: str, **changes: object) -> SpeechNetwork:
    settings = {**TRUNK, **LETTERS, **changes}
    return speech_network(wav2vec_huggingface_id=architecture, **settings)


def small_speaker_network(architecture: str, **changes: object) -> SpeakerNetwork:
    settings = {
        **TRUNK,
        "stat_pooling_type": "mean",
        "use_cosine_linear": True,
        "num_subcentres": 1,
        "explicit_num_speakers": None,
        "random_permutation_mode": None,
        "num_speakers": 5,
        **changes,
    }
    return speaker_network(wav2vec_huggingface_id=architecture, **settings)


def small_multi_task_network(architecture: str, **changes: object) -> MultiTaskNetwork:
    settings = {
        **TRUNK,
        "stat_pooling_type": "mean",
        "use_cosine_linear": True,
        "num_subcentres": 1,
        "explicit_num_speakers": None,
        **LETTERS,
        "use_multi_branch_encoder": False,
        "num_shared_transformers": 2,
        "num_speaker_dimensions": None,
        "enable_ctc_pool_speaker_embedding": False,
        "enable_ctc_pool_no_grad": True,
        "ctc_pool_on_blank_embeddings": False,
        "ctc_blank_idx": 0,
        "num_speakers": 5,
        **changes,
    }
    return multi_task_network(wav2vec_huggingface_id=architecture, **settings)
