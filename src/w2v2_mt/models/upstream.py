"""The pretrained model that a network is built from: hub id, local folder or architecture."""

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import (
    AutoConfig,
    AutoModelForCTC,
    Data2VecAudioConfig,
    Data2VecAudioModel,
    HubertConfig,
    HubertModel,
    Wav2Vec2Config,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
)

from w2v2_mt.models.regularisation import Regularisation

UpstreamConfig = Wav2Vec2Config | HubertConfig | WavLMConfig | Data2VecAudioConfig
Upstream = Wav2Vec2Model | HubertModel | WavLMModel | Data2VecAudioModel

_MODELS: dict[str, type[Upstream]] = {
    "wav2vec2": Wav2Vec2Model,
    "hubert": HubertModel,
    "wavlm": WavLMModel,
    "data2vec-audio": Data2VecAudioModel,
}
"""By the `model_type` of a config."""

_CONFIGS: dict[str, type[UpstreamConfig]] = {
    "wav2vec2": Wav2Vec2Config,
    "hubert": HubertConfig,
    "wavlm": WavLMConfig,
    "data2vec-audio": Data2VecAudioConfig,
}

_LOADING_ERRORS = (OSError, ValueError, RuntimeError, SafetensorError)
"""A file that is missing, no json, of other shapes, or damaged."""

ENCODER_FOLDER = "encoder"
"""In an exported folder of a network with a class token: its model without it, to train on from."""

_ARCHITECTURES = resources.files("w2v2_mt.models") / "architectures"


def shipped_architectures() -> list[str]:
    """The names of the architectures that come with the package, without weights."""
    return sorted(Path(entry.name).stem for entry in _ARCHITECTURES.iterdir())


def _shipped_config(name: str) -> UpstreamConfig:
    settings = json.loads((_ARCHITECTURES / f"{name}.json").read_text())
    return _CONFIGS[settings.pop("model_type")](**settings)


def _loading_failed(huggingface_id: str, reason: Exception) -> ValueError:
    first_line = str(reason).strip().splitlines()[0].rstrip(".")
    if Path(huggingface_id).is_dir():
        return ValueError(
            f"cannot load the folder {huggingface_id!r} ({first_line}): it needs the complete "
            "config.json and model.safetensors of a model; copy them again, or name another one."
        )
    if isinstance(reason, SafetensorError):
        return ValueError(
            f"cannot load {huggingface_id!r} ({first_line}): its file in the cache of HF_HOME is "
            f"damaged; remove it, and download it with `hf download {huggingface_id}`."
        )
    return ValueError(
        f"cannot load {huggingface_id!r} ({first_line}): it is neither a local folder nor "
        "in the cache of HF_HOME, and the hub does not answer or has no such model; download it "
        f"with `hf download {huggingface_id}` where there is network and copy HF_HOME, or set "
        "network.reset_weights=true to start from random weights of an architecture in "
        f"{shipped_architectures()}."
    )


def upstream_config(huggingface_id: str, *, reset_weights: bool) -> UpstreamConfig:
    """The config of a model; nothing is downloaded for an architecture that the package ships.

    Raises:
        ValueError: the id is unknown or cannot be loaded, or the model is of another kind.
    """
    is_folder = Path(huggingface_id).is_dir()
    if not is_folder and huggingface_id in shipped_architectures():
        if not reset_weights:
            raise ValueError(
                f"network.wav2vec_huggingface_id={huggingface_id!r} is an architecture without "
                "weights; set network.reset_weights=true, or name a hub id or a local folder."
            )
        config = _shipped_config(huggingface_id)
    elif (
        not is_folder and reset_weights and huggingface_id.split("/")[-1] in shipped_architectures()
    ):
        config = _shipped_config(huggingface_id.split("/")[-1])
    else:
        try:
            config = AutoConfig.from_pretrained(_place(huggingface_id))
        except (OSError, ValueError) as error:
            raise _loading_failed(huggingface_id, error) from error
    _check_supported(config, huggingface_id)
    return config


def _place(huggingface_id: str) -> str:
    """What transformers is to load: of an export with a class token, the model without it."""
    encoder = Path(huggingface_id) / ENCODER_FOLDER
    return str(encoder) if (encoder / "config.json").is_file() else huggingface_id


def _check_supported(config: Any, huggingface_id: str) -> None:
    setting = f"network.wav2vec_huggingface_id={huggingface_id!r}"
    if config.model_type not in _MODELS:
        raise ValueError(
            f"{setting} is a {config.model_type!r} model; choose one of the kinds "
            f"{', '.join(_MODELS)}."
        )
    if getattr(config, "add_adapter", False) or getattr(config, "adapter_attn_dim", None):
        raise ValueError(
            f"{setting} has adapter layers, which are not supported; choose a model without "
            "adapters."
        )
    if getattr(config, "conv_pos_batch_norm", False):
        raise ValueError(
            f"{setting} normalises its positional convolution over the batch, so that an answer "
            "would depend on what it is batched with; choose a model without conv_pos_batch_norm."
        )


def plain_settings(config: UpstreamConfig) -> dict[str, Any]:
    """The content of the `config.json` that transformers writes of a config."""
    settings: dict[str, Any] = json.loads(config.to_json_string(use_diff=False))
    return settings


def config_from_settings(settings: dict[str, Any]) -> UpstreamConfig:
    """The config that `plain_settings` describes."""
    return _CONFIGS[settings["model_type"]].from_dict(dict(settings))


def is_pre_norm(config: UpstreamConfig) -> bool:
    """Whether layers normalise what they read ("large" models) and not what they give."""
    return getattr(config, "do_stable_layer_norm", False)


def load_upstream(
    huggingface_id: str, *, reset_weights: bool, regularisation: Regularisation
) -> Upstream:
    """Build a wav2vec2, HuBERT, WavLM or data2vec-audio with this regularisation in all modules.

    Args:
        huggingface_id: a hub id, a local folder, or the name of a shipped architecture.
        reset_weights: start from random weights, and need no more than the architecture.
    """
    config = upstream_config(huggingface_id, reset_weights=reset_weights)
    config.update(asdict(regularisation))
    kind: Any = _MODELS[config.model_type]  # The annotations do not know what is passed below.
    # WavLM adds a bias to its attention, for which transformers has only its own way.
    attention = "eager" if config.model_type == "wavlm" else "sdpa"
    if reset_weights:
        return kind._from_config(config, attn_implementation=attention).to(torch.float32)
    try:
        model, loading = kind.from_pretrained(
            _place(huggingface_id),
            config=config,
            attn_implementation=attention,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except _LOADING_ERRORS as error:
        raise _loading_failed(huggingface_id, error) from error
    missing = set(loading["missing_keys"])
    if "masked_spec_embed" in missing:
        # A model that was trained without masking has no vector to mask with, and transformers
        # leaves what happens to be in memory. It begins as it does in pretraining.
        torch.nn.init.uniform_(model.masked_spec_embed)
    _check_complete(huggingface_id, missing - {"masked_spec_embed"})
    return model


def load_letter_head(huggingface_id: str) -> torch.nn.Linear:
    """The last layer of a CTC model on the hub or in a local folder."""
    try:
        loaded: Any = AutoModelForCTC.from_pretrained(
            _place(huggingface_id), dtype=torch.float32, output_loading_info=True
        )
    except _LOADING_ERRORS as error:
        raise _loading_failed(huggingface_id, error) from error
    model, loading = loaded
    missing = {name for name in loading["missing_keys"] if name.startswith("lm_head.")}
    _check_complete(huggingface_id, missing)
    return model.lm_head


def _check_complete(huggingface_id: str, missing: set[str]) -> None:
    """transformers would fill what is missing with random numbers."""
    if missing:
        raise ValueError(
            f"the weights of {huggingface_id!r} lack {min(missing)} ({len(missing)} tensors in "
            "all); name a complete model, or set reset_weights=true to start from random weights."
        )
