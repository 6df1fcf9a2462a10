"""The kinds of pretrained models: their classes, and what differs in how they are run."""

from functools import cache
from typing import Any, ClassVar

import transformers
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.registry import Registry
from w2v2_mt.models.attention import BLOCKWISE_ATTENTION
from w2v2_mt.models.convolution import convolve_over_time
from w2v2_mt.models.frame_statistics import normalize_groups
from w2v2_mt.models.packed_attention import PACKED_ATTENTION
from w2v2_mt.models.packing import Packing
from w2v2_mt.models.relative_positions import RelativeAttention, RelativePositions
from w2v2_mt.models.shapes import FrameMask, Frames, Lengths, PackedFrames, PairBias


class UpstreamKind:
    """A kind of pretrained model, built like the wav2vec 2.0 of transformers.

    A model has the modules `feature_extractor.conv_layers`, `feature_projection` and `encoder` with
    `pos_conv_embed`, `layer_norm`, `dropout` and `layers`. A new kind names its classes and
    overrides the steps that it runs in another way. No step may let padding change a valid frame.
    """

    model_class: ClassVar[Any]
    """The model, a `PreTrainedModel` of transformers."""

    config_class: ClassVar[Any]
    """The config of that model, a `PretrainedConfig`."""

    attention: ClassVar[str] = BLOCKWISE_ATTENTION
    """The attention implementation to ask transformers for."""

    def __init_subclass__(cls) -> None:
        """Leave packed frames to `run_layer` in a kind that overrides only that."""
        if "run_layer" in vars(cls) and "run_packed_layer" not in vars(cls):
            cls.run_packed_layer = UpstreamKind.run_packed_layer  # type: ignore[method-assign]

    def find_problem(self, config: Any) -> str | None:
        """Return why a model with this config cannot be used, or None."""
        if self.read_key(config, "add_adapter") or self.read_key(config, "adapter_attn_dim"):
            return "must not have adapter layers. Choose a model without adapters."
        if self.read_key(config, "conv_pos_batch_norm"):
            return (
                "must not normalize its positional convolution over the batch, as its output would "
                "depend on the other utterances. Choose a model without conv_pos_batch_norm."
            )
        return None

    def is_pre_norm(self, config: Any) -> bool:
        """Return True if layers normalize their input ("large" models), not their output."""
        return bool(self.read_key(config, "do_stable_layer_norm"))

    def read_key(self, config: Any, name: str) -> Any:
        """Return a value of the config, or None if the kind of model does not have such a key.

        A config keeps any key of its file, also those that its model never reads.
        """
        return getattr(config, name) if name in config_defaults(self.config_class) else None

    def convolve(
        self, layer: Any, frames: Float[Tensor, "batch channels_in time_in"], num_frames: Lengths
    ) -> Float[Tensor, "batch channels_out time_out"]:
        """Run one convolution of the front end; `num_frames` are the lengths of its output."""
        frames = convolve_over_time(layer.conv, frames)
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            frames = normalize_groups(frames, norm, num_frames)
        elif norm is not None:
            frames = norm(frames.transpose(1, 2)).transpose(1, 2)
        activated: Tensor = layer.activation(frames)
        return activated

    def project(
        self, projection: nn.Module, frames: Float[Tensor, "batch time channels"]
    ) -> Frames:
        """Project the output of the convolutions to the width of the transformer."""
        return projection(frames)[0]

    def embed_positions(self, embedding: Any, frames: Frames, is_valid: FrameMask | None) -> Frames:
        """Return the positional embedding to add to each frame, a convolution over its neighbors.

        `is_valid` is None for a batch without padding; `frames` are zero where it is False.
        """
        convolved = convolve_over_time(embedding.conv, frames.transpose(1, 2))
        activated: Tensor = embedding.activation(embedding.padding(convolved))
        return activated.transpose(1, 2)

    def take_relative_positions(self, model: Any) -> RelativePositions | None:
        """Move the relative positions out of the model's layers, if it has any."""
        return None

    def count_layer_weights(self, layer: nn.Module) -> int:
        """Return the number of weights that each frame is multiplied with in one layer."""
        return sum(each.numel() for each in layer.parameters() if each.dim() == 2)

    def run_layer(
        self, layer: nn.Module, frames: Frames, is_valid: FrameMask | None, bias: PairBias | None
    ) -> Frames:
        """Run one transformer layer that attends to valid frames only; None: all are valid."""
        return layer(frames, None if is_valid is None else is_valid[:, None, None, :])

    def run_packed_layer(
        self,
        layer: nn.Module,
        frames: PackedFrames,
        packing: Packing,
        bias: Float[Tensor, "heads longest longest"] | None,
    ) -> PackedFrames:
        """Run one transformer layer on packed utterances, each of which attends to itself.

        Equal to `run_layer` on each utterance, which is what this does.
        """

        def run(utterances: Frames) -> Frames:
            size, time, _ = utterances.shape
            of_run = None if bias is None else bias[:, :time, :time].repeat(size, 1, 1)
            return self.run_layer(layer, utterances, None, of_run)

        return packing.map(run, frames)


@cache
def config_defaults(config_class: Any) -> dict[str, Any]:
    """Return the keys that a config class has, with their defaults."""
    defaults: dict[str, Any] = config_class().to_dict()
    return defaults


UPSTREAMS: Registry[type[UpstreamKind]] = Registry("upstream", setting="network.upstream_kind")
"""The kinds of upstreams by the `model_type` of their config."""


class PackedKind(UpstreamKind):
    """A kind whose layers look their attention up by its name, and run on packed frames at once."""

    attention = PACKED_ATTENTION

    def run_packed_layer(
        self,
        layer: nn.Module,
        frames: PackedFrames,
        packing: Packing,
        bias: Float[Tensor, "heads longest longest"] | None,
    ) -> PackedFrames:
        return layer(frames, None, packing=packing)


@UPSTREAMS.register("wav2vec2")
class Wav2Vec2(PackedKind):
    """wav2vec 2.0. Source: arXiv 2006.11477."""

    model_class = transformers.Wav2Vec2Model
    config_class = transformers.Wav2Vec2Config


@UPSTREAMS.register("hubert")
class Hubert(PackedKind):
    """HuBERT, whose projection alone does not return its input. Source: arXiv 2106.07447."""

    model_class = transformers.HubertModel
    config_class = transformers.HubertConfig

    def project(
        self, projection: nn.Module, frames: Float[Tensor, "batch time channels"]
    ) -> Frames:
        return projection(frames)


@UPSTREAMS.register("wavlm")
class WavLM(UpstreamKind):
    """WavLM. Source: arXiv 2110.13900, with relative positions of section III-A."""

    model_class = transformers.WavLMModel
    config_class = transformers.WavLMConfig
    attention = "eager"

    def take_relative_positions(self, model: Any) -> RelativePositions:
        """Move the biases out of the first layer and use the fused attention in all layers.

        Every layer then reads the same ones, whichever layers a branch owns or layer drop skips.
        """
        layers = list(model.encoder.layers)
        embedding: nn.Embedding = layers[0].attention.rel_attn_embed
        del layers[0].attention.rel_attn_embed
        for layer in layers:
            layer.attention.__class__ = RelativeAttention
        return RelativePositions(embedding, max_distance=model.config.max_bucket_distance)

    def count_layer_weights(self, layer: Any) -> int:
        """Count the weights of the gate of positions once for each attention head."""
        gate = layer.attention.gru_rel_pos_linear.weight.numel()
        return super().count_layer_weights(layer) + (layer.attention.num_heads - 1) * gate

    def run_layer(
        self, layer: nn.Module, frames: Frames, is_valid: FrameMask | None, bias: PairBias | None
    ) -> Frames:
        return layer(frames, attention_mask=is_valid, position_bias=bias)[0]

    def run_packed_layer(
        self,
        layer: nn.Module,
        frames: PackedFrames,
        packing: Packing,
        bias: Float[Tensor, "heads longest longest"] | None,
    ) -> PackedFrames:
        return layer(frames, position_bias=bias, packing=packing)[0]


@UPSTREAMS.register("data2vec-audio")
class Data2VecAudio(PackedKind):
    """data2vec for audio. Source: arXiv 2202.03555."""

    model_class = transformers.Data2VecAudioModel
    config_class = transformers.Data2VecAudioConfig

    def embed_positions(self, embedding: Any, frames: Frames, is_valid: FrameMask | None) -> Frames:
        """Run a stack of convolutions, each of which must read zeros as padding."""
        convolved = frames.transpose(1, 2)  # [batch, dim, time]
        for index, layer in enumerate(embedding.layers):
            if index > 0 and is_valid is not None:
                convolved = convolved.masked_fill(~is_valid[:, None, :], 0)
            convolved = layer.padding(convolve_over_time(layer.conv, convolved))
            normalized = layer.layer_norm(convolved.transpose(1, 2))
            convolved = layer.activation(normalized).transpose(1, 2)
        return convolved.transpose(1, 2)
