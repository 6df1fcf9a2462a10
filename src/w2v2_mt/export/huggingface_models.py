"""A trained encoder and CTC head as models of transformers, with the names of their weights.

Each folder has code of its own, which `trust_remote_code=True` loads: with the classes of
transformers, padding emits tokens, and enters the norm of "base" models and the positional
convolutions of data2vec.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCTC, PreTrainedModel

from w2v2_mt.core.terminal import visible
from w2v2_mt.core.units import count
from w2v2_mt.models.heads import SpeechHead
from w2v2_mt.models.trunk import Trunk
from w2v2_mt.models.upstream import ENCODER_FOLDER, config_from_settings
from w2v2_mt.models.upstream_kinds import UPSTREAMS

_CODE_MODULE = "modeling_w2v2_mt"


def render_template(name: str, **content: object) -> str:
    """Return the text of a file that an export writes."""
    environment = Environment(
        loader=PackageLoader("w2v2_mt.export"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["steps"] = partial(count, noun="step")
    environment.filters["markdown"] = _escape_markdown
    environment.filters["yaml_list"] = yaml.safe_dump
    return environment.get_template(name).render(**content)


def _escape_markdown(text: object) -> str:
    """Return a text that is shown as it is, also in a table of a model card."""
    plain = visible(text, keep="")
    return re.sub(r"[\\`*\[\]<>|&~$]|(?<!\w)[_#]|_(?!\w)", r"\\\g<0>", plain)


def encoder_model(trunk: Trunk, *, task: str) -> PreTrainedModel:
    """Return the model that AutoModel loads: the encoder of one task, without its class token."""
    model = AutoModel.from_config(config_from_settings(trunk.architecture))
    model.load_state_dict(_encoder_weights(trunk, task, model), strict=True)
    return model


def ctc_model(trunk: Trunk, head: SpeechHead, token_ids: dict[str, int | None]) -> PreTrainedModel:
    """Return the model that AutoModelForCTC loads, without its class token.

    If the CTC head reads a part of the dimensions, the others have weights of zero. `token_ids` are
    those of special symbols, such as `pad_token_id` for the blank.
    """
    config = config_from_settings(trunk.architecture)
    config.update({"vocab_size": head.linear.out_features, **token_ids})
    model = AutoModelForCTC.from_config(config)
    weight = torch.zeros(head.linear.out_features, config.hidden_size)
    weight[:, -head.linear.in_features :] = head.linear.weight.detach()
    encoder = _encoder_weights(trunk, "speech", model.base_model)
    weights = {f"{model.base_model_prefix}.{name}": value for name, value in encoder.items()}
    weights |= {"lm_head.weight": weight, "lm_head.bias": head.linear.bias.detach()}
    model.load_state_dict(weights, strict=True)
    return model


def sees_padding(model: PreTrainedModel) -> bool:
    """Return True if padding changes valid frames in transformers' own class.

    The group norm of "base" models counts padding, masked or not; the second and later positional
    convolutions of data2vec read it.
    """
    base: Any = model.base_model
    norm = getattr(base.feature_extractor.conv_layers[0], "layer_norm", None)
    num_convolutions = len(getattr(base.encoder.pos_conv_embed, "layers", ()))
    return isinstance(norm, nn.GroupNorm) or num_convolutions > 1


def save_model(model: PreTrainedModel, trunk: Trunk, folder: Path) -> None:
    """Save the weights, and the code with which padding changes nothing.

    Without a class token, transformers also loads the folder without that code. With one, the
    model type is unknown to transformers, so that it asks for the code and never omits the token,
    and the model without the token is in a folder of its own.
    """
    class_token = trunk.encoder.class_token
    plain_folder = folder if class_token is None else folder / ENCODER_FOLDER
    model.save_pretrained(plain_folder)
    settings = json.loads((plain_folder / "config.json").read_text())
    kind = UPSTREAMS.find(settings["model_type"]).model_class.__name__.removesuffix("Model")
    prefix = "PaddedBatch" if class_token is None else "ClassToken"
    is_ctc = model.base_model is not model
    auto_classes = {"AutoModel": f"{prefix}Model"}
    if is_ctc:
        auto_classes["AutoModelForCTC"] = f"{prefix}ForCTC"
    if class_token is not None:
        settings["model_type"] += "-class-token"
        settings["architectures"] = [auto_classes["AutoModelForCTC" if is_ctc else "AutoModel"]]
        auto_classes["AutoConfig"] = f"{prefix}Config"
        weights = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
        token_name = f"{model.base_model_prefix}.class_token" if is_ctc else "class_token"
        weights[token_name] = class_token.vector.detach().clone()
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    settings["auto_map"] = {auto: f"{_CODE_MODULE}.{name}" for auto, name in auto_classes.items()}
    (folder / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    code = render_template(
        "model_code.py.j2",
        kind=kind,
        prefix=prefix,
        model_type=settings["model_type"],
        has_class_token=class_token is not None,
    )
    (folder / f"{_CODE_MODULE}.py").write_text(code, encoding="utf-8")


def _encoder_weights(trunk: Trunk, task: str, model: Any) -> dict[str, Tensor]:
    encoder: Any = trunk.encoder
    stacks = [encoder.shared, *([encoder.branches[task]] if encoder.branches else [])]
    layers = [layer for stack in stacks for layer in stack.layers]
    modules = [
        ("feature_extractor.conv_layers", trunk.backbone.convolutions),
        ("feature_projection", trunk.backbone.projection),
        ("encoder.pos_conv_embed", encoder.positional_convolution),
        ("encoder.layer_norm", encoder.input_norm),  # of these two norms, one has weights
        ("encoder.layer_norm", stacks[-1].final_norm),
        *((f"encoder.layers.{index}", layer) for index, layer in enumerate(layers)),
    ]
    if encoder.relative_positions is not None:
        name = "encoder.layers.0.attention.rel_attn_embed"
        modules.append((name, encoder.relative_positions.embedding))
    weights = {
        f"{prefix}.{name}": value
        for prefix, module in modules
        for name, value in module.state_dict().items()
    }
    masked_frame = trunk.spec_augment.masked_frame
    if masked_frame is None:
        masked_frame = getattr(model, "masked_spec_embed", None)
    if masked_frame is not None:
        weights["masked_spec_embed"] = masked_frame.detach()
    return weights
