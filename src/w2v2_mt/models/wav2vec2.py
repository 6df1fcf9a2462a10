"""The HuggingFace wav2vec2 that a network is built from: hub id, local folder or architecture."""

import json
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, Wav2Vec2Config, Wav2Vec2ForCTC, Wav2Vec2Model

from w2v2_mt.models.regularisation import Regularisation

_ARCHITECTURES = resources.files("w2v2_mt.models") / "architectures"


def shipped_architectures() -> list[str]:
    """The names of the architectures that come with the package, without weights."""
    return sorted(Path(entry.name).stem for entry in _ARCHITECTURES.iterdir())


def _shipped_config(name: str) -> Wav2Vec2Config:
    return Wav2Vec2Config(**json.loads((_ARCHITECTURES / f"{name}.json").read_text()))


def _loading_failed(huggingface_id: str, reason: Exception) -> ValueError:
    first_line = str(reason).strip().splitlines()[0]
    return ValueError(
        f"cannot load wav2vec2 {huggingface_id!r} ({first_line}): it is neither a local folder nor "
        "in the cache of HF_HOME, and the hub does not answer or has no such model; download it "
        f"with `hf download {huggingface_id}` where there is network and copy HF_HOME, or set "
        "network.reset_weights=true to start from random weights of an architecture in "
        f"{shipped_architectures()}."
    )


def wav2vec2_config(huggingface_id: str, *, reset_weights: bool) -> Wav2Vec2Config:
    """The config of a model; nothing is downloaded for an architecture that the package ships.

    Raises:
        ValueError: the id is unknown or cannot be loaded, or the model is not a wav2vec2.
    """
    if Path(huggingface_id).is_dir():
        config = AutoConfig.from_pretrained(huggingface_id)
    elif huggingface_id in shipped_architectures():
        if not reset_weights:
            raise ValueError(
                f"network.wav2vec_huggingface_id={huggingface_id!r} is an architecture without "
                "weights; set network.reset_weights=true, or name a hub id or a local folder."
            )
        config = _shipped_config(huggingface_id)
    elif reset_weights and huggingface_id.split("/")[-1] in shipped_architectures():
        config = _shipped_config(huggingface_id.split("/")[-1])
    else:
        try:
            config = AutoConfig.from_pretrained(huggingface_id)
        except (OSError, ValueError) as error:
            raise _loading_failed(huggingface_id, error) from error

    if not isinstance(config, Wav2Vec2Config) or config.model_type != "wav2vec2":
        raise ValueError(
            f"network.wav2vec_huggingface_id={huggingface_id!r} is a {config.model_type!r} model; "
            "only 'wav2vec2' models are supported: choose one of those."
        )
    if config.add_adapter or config.adapter_attn_dim is not None:
        raise ValueError(
            f"network.wav2vec_huggingface_id={huggingface_id!r} has adapter layers, which are not "
            "supported; choose a wav2vec2 without adapters."
        )
    return config


def load_wav2vec2(
    huggingface_id: str, *, reset_weights: bool, regularisation: Regularisation
) -> Wav2Vec2Model:
    """Build a wav2vec2 with the given regularisation in all of its modules.

    Args:
        huggingface_id: a hub id, a local folder, or the name of a shipped architecture.
        reset_weights: start from random weights, and need no more than the architecture.
    """
    config = wav2vec2_config(huggingface_id, reset_weights=reset_weights)
    config.update(asdict(regularisation))
    if reset_weights:
        model = Wav2Vec2Model._from_config(config, attn_implementation="sdpa")
        return model.to(torch.float32)
    try:
        # Its annotation does not know of the second value.
        loaded: Any = Wav2Vec2Model.from_pretrained(
            huggingface_id,
            config=config,
            attn_implementation="sdpa",
            dtype=torch.float32,
            output_loading_info=True,
        )
    except OSError as error:
        raise _loading_failed(huggingface_id, error) from error
    model, loading = loaded
    # A model that was trained without masking has no vector to mask with.
    _check_complete(huggingface_id, set(loading["missing_keys"]) - {"masked_spec_embed"})
    return model


def load_letter_head(huggingface_id: str) -> torch.nn.Linear:
    """The last layer of a CTC model on the hub or in a local folder."""
    try:
        loaded: Any = Wav2Vec2ForCTC.from_pretrained(
            huggingface_id, dtype=torch.float32, output_loading_info=True
        )
    except OSError as error:
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
