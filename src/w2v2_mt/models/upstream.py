"""Load the pretrained model of a network: a hub id, a local folder or a shipped architecture.

With `reset_weights` only the architecture is read, and weights are random. A `kind` of None is that
of the `model_type` of the model's config. A model that is unknown, incomplete, corrupt or of
another kind is refused with a ValueError. Code of a model, and code that its config names, is never
loaded: the classes are those of this program or of transformers.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCTC, PretrainedConfig
from transformers.activations import ACT2FN

from w2v2_mt.core.units import count
from w2v2_mt.models.loading_errors import (
    ARCHITECTURES,
    is_path,
    list_architectures,
    report_loading_errors,
)
from w2v2_mt.models.upstream_kinds import UPSTREAMS, UpstreamKind

ENCODER_FOLDER = "encoder"
"""The part of an exported network with a class token that holds its model without the token."""

_CODE_KEYS = frozenset(
    "auto_map custom_pipelines trust_remote_code attn_implementation experts_implementation "
    "_attn_implementation _attn_implementation_internal _experts_implementation "
    "_experts_implementation_internal".split()
)
"""Keys of a config that name code, such as an attention kernel on the hub; they are not read."""

_UPSTREAM, _CTC_HEAD = "network.wav2vec_huggingface_id", "network.speech_head_huggingface_id"
_INSTEAD = {
    _UPSTREAM: "set network.reset_weights=true to start from random weights of an architecture in "
    f"{list_architectures()}",
    _CTC_HEAD: f"set {_CTC_HEAD}=null to start from a random head",
}
"""The setting that names a model, and what to do without one."""


def find_kind(config: Any, kind: type[UpstreamKind] | None = None) -> UpstreamKind:
    """Return a named kind or, without a name, that of the `model_type` of a config."""
    return (kind or UPSTREAMS.find(config.model_type))()


def load_config(
    huggingface_id: str, *, reset_weights: bool, kind: type[UpstreamKind] | None = None
) -> Any:
    """Load the config of a model; that of a shipped architecture needs no download."""
    architecture = _find_architecture(huggingface_id, reset_weights=reset_weights)
    if architecture is None:
        config = _read_config(huggingface_id, kind)
    elif reset_weights:
        settings = json.loads((ARCHITECTURES / f"{architecture}.json").read_text())
        config = UPSTREAMS.find(settings.pop("model_type")).config_class(**settings)
    else:
        raise ValueError(
            f"{_UPSTREAM}={huggingface_id!r} is an architecture without "
            "weights; set network.reset_weights=true, or name a hub id or a local folder."
        )
    problem = find_kind(config, kind).find_problem(config)
    if problem is not None:
        raise ValueError(f"{_UPSTREAM} ({huggingface_id}) {problem}")
    return config


def _find_architecture(huggingface_id: str, *, reset_weights: bool) -> str | None:
    """Return the shipped architecture of this name, which a folder of that name does not shadow.

    Only a model in that folder does, where weights are to be loaded or the id has an owner.
    """
    name = huggingface_id.split("/")[-1] if reset_weights else huggingface_id
    if name not in list_architectures() or is_path(huggingface_id):
        return None
    is_model = (Path(huggingface_id) / "config.json").is_file()
    return name if not is_model or (reset_weights and name == huggingface_id) else None


def _read_config(
    huggingface_id: str, kind: type[UpstreamKind] | None = None, *, setting: str = _UPSTREAM
) -> Any:
    """Read the `config.json` of a model as plain values, and make a config of a known class."""
    folder = _model_folder(huggingface_id)
    with report_loading_errors(huggingface_id, instead=_INSTEAD[setting]):
        try:
            settings, _ = PretrainedConfig.get_config_dict(folder, trust_remote_code=False)
        except (AttributeError, TypeError):  # null is not accepted by transformers, a list is.
            settings = None
        if not isinstance(settings, dict):
            raise ValueError("config.json must be one JSON object")
        if not settings:
            raise FileNotFoundError("it does not have a config.json with settings")
    model_type = settings.get("model_type")
    if kind is None and model_type not in UPSTREAMS.names:
        other = "name one of your own in network.upstream_kind"
        raise ValueError(
            f"{setting} ({huggingface_id}) is a {model_type!r} model. Choose one of the kinds "
            f"{', '.join(UPSTREAMS.names)}, or "
            f"{other if setting == _UPSTREAM else _INSTEAD[setting]}."
        )
    if settings.get("quantization_config") is not None:
        raise ValueError(
            f"{setting} ({huggingface_id}) must not be quantized. Choose a model without a "
            "quantization_config."
        )
    with report_loading_errors(huggingface_id, instead=_INSTEAD[setting]):
        for name in ("hidden_act", "feat_extract_activation"):
            value = settings.get(name)
            if isinstance(value, str) and value not in ACT2FN:
                raise ValueError(f"{name} {value!r} is not an activation of transformers")
        return config_from_settings({**settings, "name_or_path": folder}, kind)


def _model_folder(huggingface_id: str) -> str:
    """Return what transformers is to load: of an export with a class token, the model inside."""
    encoder = Path(huggingface_id) / ENCODER_FOLDER
    return str(encoder) if (encoder / "config.json").is_file() else huggingface_id


def config_from_settings(settings: dict[str, Any], kind: type[UpstreamKind] | None = None) -> Any:
    """Return the config that a `config.json` describes, without what names code."""
    known = {name: value for name, value in settings.items() if name not in _CODE_KEYS}
    return (kind or UPSTREAMS.find(str(settings["model_type"]))).config_class.from_dict(known)


def load_upstream(
    huggingface_id: str, config: Any, kind: UpstreamKind, *, reset_weights: bool
) -> Any:
    """Load a pretrained model with a config, that of `load_config` with other regularisation."""
    if not reset_weights:
        return _load_pretrained(kind.model_class, huggingface_id, config, kind)
    with report_loading_errors(huggingface_id, instead=_INSTEAD[_UPSTREAM]):
        model = kind.model_class._from_config(config, attn_implementation=kind.attention)
        return model.to(torch.float32)


def load_ctc_head(huggingface_id: str) -> torch.nn.Linear:
    """Load the last layer of a CTC model on the hub or in a local folder."""
    config = _read_config(huggingface_id, setting=_CTC_HEAD)
    return _load_pretrained(
        AutoModelForCTC,
        huggingface_id,
        config,
        find_kind(config),
        part="lm_head.",
        setting=_CTC_HEAD,
    ).lm_head


def _load_pretrained(
    model_class: Any,
    huggingface_id: str,
    config: Any,
    kind: UpstreamKind,
    *,
    part: str = "",
    setting: str = _UPSTREAM,
) -> Any:
    """Return a model; refuse one whose file lacks weights with this prefix."""
    with report_loading_errors(huggingface_id, instead=_INSTEAD[setting]):
        model, loading = model_class.from_pretrained(
            _model_folder(huggingface_id),
            config=config,
            attn_implementation=kind.attention,
            dtype=torch.float32,
            output_loading_info=True,
            trust_remote_code=False,
            weights_only=True,
        )
    missing = {name for name in loading["missing_keys"] if name.startswith(part)}
    if "masked_spec_embed" in missing:
        # A model that was trained without masking has no vector to mask with, and transformers
        # leaves it uninitialized. Pretraining draws it from this distribution.
        torch.nn.init.uniform_(model.masked_spec_embed)
        missing.remove("masked_spec_embed")
    if missing:  # transformers would fill them with random numbers.
        raise ValueError(
            f"the weights of {huggingface_id!r} lack {min(missing)} ("
            f"{count(len(missing), 'tensor')} in all); name a complete model, or "
            f"{_INSTEAD[setting]}."
        )
    return model
