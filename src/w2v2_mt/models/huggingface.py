"""A trained trunk and letter head as models of transformers, with the names of their weights.

An encoder with a class token is none of theirs: `CLASS_TOKEN_CODE` is the file that makes
one of them read it, and comes with the weights.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AutoModel, AutoModelForCTC, PreTrainedModel

from w2v2_mt.models.heads import SpeechHead
from w2v2_mt.models.trunk import Trunk
from w2v2_mt.models.upstream import config_from_settings

CLASS_TOKEN_FILE = "modeling_class_token.py"
CLASS_TOKEN_CODE = '''"""A {kind} with a class token before the frames of its encoder.

The last hidden state begins with the frame of the class token; letters have none for it.
"""

import torch
from transformers import {kind}Config, {kind}ForCTC, {kind}Model


class ClassTokenConfig({kind}Config):
    model_type = "{model_type}"


class ClassTokenModel({kind}Model):
    config_class = ClassTokenConfig

    def __init__(self, config):
        super().__init__(config)
        self.class_token = torch.nn.Parameter(torch.ones(config.hidden_size))
        self.encoder.register_forward_pre_hook(self._put_in_front, with_kwargs=True)

    def _put_in_front(self, encoder, arguments, options):
        (frames,) = arguments
        token = self.class_token.to(frames.dtype).expand(frames.shape[0], 1, -1)
        mask = options.get("attention_mask")
        if mask is not None:
            options["attention_mask"] = torch.cat([torch.ones_like(mask[:, :1]), mask], dim=1)
        return (torch.cat([token, frames], dim=1),), options


class ClassTokenForCTC({kind}ForCTC):
    config_class = ClassTokenConfig

    def __init__(self, config, **options):
        super().__init__(config, **options)
        setattr(self, self.base_model_prefix, ClassTokenModel(config))
        self.dropout.register_forward_hook(lambda dropout, inputs, frames: frames[:, 1:])
        self.post_init()
'''

_KINDS = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "wavlm": "WavLM",
    "data2vec-audio": "Data2VecAudio",
}
"""How the classes of a model type are called."""


def check_exportable(trunk: Trunk) -> None:
    """Raises ValueError where no model of transformers answers as this trunk does."""
    if trunk.layer_weights:
        raise ValueError(
            "its heads read a learned weighted sum of layers, which the models of transformers "
            "with letters do not; export a network with network.layer_weights=last."
        )
    if trunk.permutation is not None:
        raise ValueError(
            "it shuffles the frames before its encoder, which no model of transformers does; "
            "export a network with network.random_permutation_mode=null."
        )


def encoder_model(trunk: Trunk, *, task: str) -> PreTrainedModel:
    """What AutoModel loads: the trunk as one task sees it, without its class token."""
    model = AutoModel.from_config(config_from_settings(trunk.architecture))
    model.load_state_dict(_completed(_encoder_weights(trunk, task), model), strict=True)
    return model


def letter_model(
    trunk: Trunk,
    head: SpeechHead,
    *,
    num_speaker_dimensions: int | None,
    blank_index: int,
    others: dict[str, int | None],
) -> PreTrainedModel:
    """What AutoModelForCTC loads, without its class token.

    Where the letters read a part of the dimensions, the others have weights of zero. `others` are
    the ids of other special symbols, such as `bos_token_id`.
    """
    config = config_from_settings(trunk.architecture)
    config.update({"vocab_size": head.linear.out_features, "pad_token_id": blank_index, **others})
    model = AutoModelForCTC.from_config(config)
    weight = torch.zeros(head.linear.out_features, config.hidden_size)
    weight[:, num_speaker_dimensions or 0 :] = head.linear.weight.detach()
    encoder = _completed(_encoder_weights(trunk, "speech"), model.base_model)
    model.load_state_dict(
        {
            **{f"{model.base_model_prefix}.{name}": value for name, value in encoder.items()},
            "lm_head.weight": weight,
            "lm_head.bias": head.linear.bias.detach(),
        },
        strict=True,
    )
    return model


def class_token_code(trunk: Trunk) -> str:
    """The content of CLASS_TOKEN_FILE."""
    model_type = trunk.architecture["model_type"]
    return CLASS_TOKEN_CODE.format(kind=_KINDS[model_type], model_type=class_token_type(model_type))


def class_token_type(model_type: str) -> str:
    """Unknown to transformers, so that it asks for the code and never leaves the token out."""
    return f"{model_type}-class-token"


def _encoder_weights(trunk: Trunk, task: str) -> dict[str, Tensor]:
    encoder: Any = trunk.encoder
    stacks = [encoder.shared, *([encoder.branches[task]] if encoder.branches else [])]
    weights = {
        **_named("feature_extractor.conv_layers.", trunk.backbone.convolutions),
        **_named("feature_projection.", trunk.backbone.projection),
        **_named("encoder.pos_conv_embed.", encoder.positional_convolution),
        **_named("encoder.layer_norm.", encoder.input_norm),
        **_named("encoder.layer_norm.", stacks[-1].final_norm),
    }
    layers: list[Any] = [layer for stack in stacks for layer in stack.layers]
    for index, layer in enumerate(layers):
        weights |= _named(f"encoder.layers.{index}.", layer)
    if encoder.relative_positions is not None:
        weights |= _named(
            "encoder.layers.0.attention.rel_attn_embed.", encoder.relative_positions.embedding
        )
    masked_frame = getattr(trunk.spec_augment, "masked_frame", None)
    if masked_frame is not None:
        weights["masked_spec_embed"] = masked_frame.detach()
    return weights


def _named(prefix: str, module: Any) -> dict[str, Tensor]:
    return {f"{prefix}{name}": value for name, value in module.state_dict().items()}


def _completed(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """With the vector that frames are masked by, which a network without masks does not have."""
    name = "masked_spec_embed"
    if name in model.state_dict() and name not in weights:
        return {**weights, name: model.masked_spec_embed.detach()}
    return weights
