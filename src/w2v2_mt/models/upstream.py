"""Load the pretrained model of a network: a hub id, a local folder or a shipped architecture.

With `reset_weights` only the architecture is read, and weights are random. A `kind` of None is that
of the `model_type` of the model's config. A model that is unknown, incomplete, corrupt or of
another kind is refused with a ValueError. Code of a model, and code that its config names, is never
loaded: the classes are those of this program or of transformers.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCTC, PretrainedConfig
from transformers.activations import ACT2FN

from w2v2_mt.core.units import count
from w2v2_mt.models.loading_errors import is_path, loading_failed
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.upstream_kinds import UPSTREAMS, UpstreamKind

_LOADING_ERRORS = (
    *(OSError, ValueError, RuntimeError, SafetensorError, UnpicklingError),
    *(AttributeError, EOFError, LookupError, TypeError),
)
"""The errors of a file that is missing, corrupt, not json, of other shapes, or that names code, and
those of transformers for a wrong value in a config."""

ENCODER_FOLDER = "encoder"
"""The part of an exported network with a class token that holds its model without the token."""

_CODE_KEYS = (
    "auto_map",
    "custom_pipelines",
    "trust_remote_code",
    "attn_implementation",
    "experts_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "_experts_implementation",
    "_experts_implementation_internal",
)
"""Keys of a config that name code, such as an attention kernel on the hub; they are not read."""

_ARCHITECTURES = resources.files("w2v2_mt.models") / "architectures"


def list_architectures() -> list[str]:
    """Return the names of the architectures in this package, which have no weights."""
    return sorted(Path(entry.name).stem for entry in _ARCHITECTURES.iterdir())


def _loading_failed(huggingface_id: str, reason: Exception) -> ValueError:
    return loading_failed(huggingface_id, reason, architectures=list_architectures())


def find_kind(config: Any, kind: type[UpstreamKind] | None = None) -> UpstreamKind:
    """Return a named kind or, without a name, that of the `model_type` of a config."""
    return (kind or UPSTREAMS.find(config.model_type))()


def load_config(
    huggingface_id: str, *, reset_weights: bool, kind: type[UpstreamKind] | None = None
) -> Any:
    """Load the config of a model; that of a shipped architecture needs no download."""
    if _names_architecture(huggingface_id, reset_weights=reset_weights):
        name = huggingface_id.split("/")[-1]
        if not reset_weights:
            raise ValueError(
                f"network.wav2vec_huggingface_id={huggingface_id!r} is an architecture without "
                "weights; set network.reset_weights=true, or name a hub id or a local folder."
            )
        settings = json.loads((_ARCHITECTURES / f"{name}.json").read_text())
        config = UPSTREAMS.find(settings.pop("model_type")).config_class(**settings)
    else:
        config = _read_config(huggingface_id, kind)
    setting = f"network.wav2vec_huggingface_id ({huggingface_id})"
    problem = find_kind(config, kind).find_problem(config)
    if problem is not None:
        raise ValueError(f"{setting} {problem}")
    return config


def _names_architecture(huggingface_id: str, *, reset_weights: bool) -> bool:
    """Return True for a shipped architecture; a folder of its name does not change its meaning.

    Only a model in that folder does, where weights are to be loaded or the id has an owner.
    """
    name = huggingface_id.split("/")[-1] if reset_weights else huggingface_id
    if name not in list_architectures() or is_path(huggingface_id):
        return False
    is_bare = name == huggingface_id
    return (reset_weights and is_bare) or not (Path(huggingface_id) / "config.json").is_file()


def _read_config(huggingface_id: str, kind: type[UpstreamKind] | None = None) -> Any:
    """Read the `config.json` of a model as plain values, and make a config of a known class."""
    folder = _model_folder(huggingface_id)
    try:
        settings, _ = PretrainedConfig.get_config_dict(folder, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise _loading_failed(huggingface_id, error) from error
    except (AttributeError, TypeError):  # null is not accepted by transformers, a list is.
        settings = None
    if not isinstance(settings, dict):
        raise _loading_failed(huggingface_id, ValueError("config.json must be one JSON object"))
    if not settings:
        missing = FileNotFoundError("it does not have a config.json with settings")
        raise _loading_failed(huggingface_id, missing)
    model_type = settings.get("model_type")
    if kind is None and model_type not in UPSTREAMS.names:
        raise ValueError(
            f"network.wav2vec_huggingface_id ({huggingface_id}) is a {model_type!r} model. Choose "
            f"one of the kinds {', '.join(UPSTREAMS.names)}, or name one of your own in "
            "network.upstream_kind."
        )
    if settings.get("quantization_config") is not None:
        raise ValueError(
            f"network.wav2vec_huggingface_id ({huggingface_id}) must not be quantized. Choose a "
            "model without a quantization_config."
        )
    for name in ("hidden_act", "feat_extract_activation"):
        value = settings.get(name)
        if isinstance(value, str) and value not in ACT2FN:
            reason = ValueError(f"{name} {value!r} is not an activation of transformers")
            raise _loading_failed(huggingface_id, reason)
    if kind is None:
        settings["name_or_path"] = folder
    try:
        return _make_config(kind or UPSTREAMS.find(str(model_type)), settings)
    except Exception as error:  # Its check of a wrong value raises errors of its own kinds.
        raise _loading_failed(huggingface_id, error) from error


def _make_config(kind: type[UpstreamKind], settings: Mapping[str, Any]) -> Any:
    """Make a config from the content of a `config.json`, without what names code."""
    known = {name: value for name, value in settings.items() if name not in _CODE_KEYS}
    return kind.config_class.from_dict(known)


def _model_folder(huggingface_id: str) -> str:
    """Return what transformers is to load: of an export with a class token, the model inside."""
    encoder = Path(huggingface_id) / ENCODER_FOLDER
    return str(encoder) if (encoder / "config.json").is_file() else huggingface_id


def config_from_settings(settings: dict[str, Any]) -> Any:
    """Return the config that the content of a `config.json` describes."""
    return _make_config(UPSTREAMS.find(settings["model_type"]), settings)


def load_upstream(
    huggingface_id: str,
    *,
    reset_weights: bool,
    regularisation: Regularisation,
    kind: type[UpstreamKind] | None = None,
) -> Any:
    """Load a pretrained model, with this regularisation in all of its modules."""
    config = load_config(huggingface_id, reset_weights=reset_weights, kind=kind)
    config.update(asdict(regularisation))
    found = find_kind(config, kind)
    if reset_weights:
        try:
            model = found.model_class._from_config(config, attn_implementation=found.attention)
        except _LOADING_ERRORS as error:
            raise _loading_failed(huggingface_id, error) from error
        return model.to(torch.float32)
    options = {"config": config, "attn_implementation": found.attention}
    return _load_pretrained(found.model_class, huggingface_id, **options)


def load_ctc_head(huggingface_id: str) -> torch.nn.Linear:
    """Load the last layer of a CTC model on the hub or in a local folder."""
    config = _read_config(huggingface_id)
    options = {"config": config, "attn_implementation": find_kind(config).attention}
    return _load_pretrained(AutoModelForCTC, huggingface_id, part="lm_head.", **options).lm_head


def _load_pretrained(
    model_class: Any, huggingface_id: str, *, part: str = "", **options: Any
) -> Any:
    """Return a model; refuse one whose file lacks weights with this prefix."""
    options |= {"dtype": torch.float32, "output_loading_info": True}
    options |= {"trust_remote_code": False, "weights_only": True}
    try:
        model, loading = model_class.from_pretrained(_model_folder(huggingface_id), **options)
    except _LOADING_ERRORS as error:
        raise _loading_failed(huggingface_id, error) from error
    missing = {name for name in loading["missing_keys"] if name.startswith(part)}
    if "masked_spec_embed" in missing:
        # A model that was trained without masking has no vector to mask with, and transformers
        # leaves it uninitialized. Pretraining draws it from this distribution.
        torch.nn.init.uniform_(model.masked_spec_embed)
        missing.remove("masked_spec_embed")
    if missing:  # transformers would fill them with random numbers.
        raise ValueError(
            f"the weights of {huggingface_id!r} lack {min(missing)} ("
            f"{count(len(missing), 'tensor')} in all); name a complete model, or set "
            "reset_weights=true to start from random weights."
        )
    return model
