"""How a transformer learns where a frame stands: positional convolutions and relative positions."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import WavLMModel
from transformers.models.data2vec.modeling_data2vec_audio import (
    Data2VecAudioPositionalConvEmbedding,
)
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from w2v2_mt.models.upstream import Upstream


def convolved_positions(
    embedding: nn.Module,
    frames: Float[Tensor, "batch time dim"],
    is_real: Bool[Tensor, "batch time"] | None,
) -> Float[Tensor, "batch time dim"]:
    """What is added to each frame to tell where it stands: convolutions over its neighbours.

    wav2vec2, HuBERT and WavLM have one convolution, data2vec-audio a stack of them, each of which
    must see the zeros behind the last real frame that it would see if the utterance were alone.
    `is_real` None means that there is no padding; `frames` are zero where it is False.
    """
    if not isinstance(embedding, Data2VecAudioPositionalConvEmbedding):
        return embedding(frames)
    convolved = frames.transpose(1, 2)  # [batch, dim, time]
    for index, layer in enumerate(embedding.layers):
        if index > 0 and is_real is not None:
            convolved = convolved.masked_fill(~is_real[:, None, :], 0)
        convolved = layer(convolved)
    return convolved.transpose(1, 2)


class RelativePositions(nn.Module):
    """A learned bias of each attention head for each distance between two frames, for all layers.

    Distances are put into buckets that grow with the distance, apart for frames before and behind.

    Source: WavLM, arXiv 2110.13900, section III-A, with the buckets of T5, arXiv 1910.10683.
    """

    def __init__(self, embedding: nn.Embedding, *, max_distance: int):
        super().__init__()
        self.embedding = embedding
        self.max_distance = max_distance

    def forward(self, num_frames: int) -> Float[Tensor, "heads time time"]:
        positions = torch.arange(num_frames, device=self.embedding.weight.device)
        buckets = self._buckets(positions[None, :] - positions[:, None])
        return self.embedding(buckets).permute(2, 0, 1)

    def _buckets(self, distances: Int[Tensor, "time time"]) -> Int[Tensor, "time time"]:
        num_each_way = self.embedding.num_embeddings // 2
        num_exact = num_each_way // 2
        size = distances.abs()
        growth = torch.log(size.clamp(min=1) / num_exact) / math.log(self.max_distance / num_exact)
        coarse = num_exact + (growth * (num_each_way - num_exact)).long()
        buckets = torch.where(size < num_exact, size, coarse.clamp(max=num_each_way - 1))
        return buckets + num_each_way * (distances > 0)


class RelativeAttention(WavLMAttention):
    """WavLM's attention through torch's fused one; HuggingFace's asks for all attention weights."""

    def torch_multi_head_self_attention(  # type: ignore[override]
        self,
        hidden_states: Float[Tensor, "batch time dim"],
        attention_mask: Bool[Tensor, "batch time"] | None,
        gated_position_bias: Float[Tensor, "batch_heads time time"],
    ) -> tuple[Float[Tensor, "batch time dim"], None]:
        batch, time, _ = hidden_states.shape

        def heads(projection: nn.Linear) -> Float[Tensor, "batch heads time head_dim"]:
            return projection(hidden_states).view(batch, time, self.num_heads, -1).transpose(1, 2)

        query = heads(self.q_proj)
        bias = gated_position_bias.view(batch, self.num_heads, time, time).to(query.dtype)
        if attention_mask is not None:
            bias = bias.masked_fill(~attention_mask[:, None, None, :], -torch.inf)
        attended = nn.functional.scaled_dot_product_attention(
            query,
            heads(self.k_proj),
            heads(self.v_proj),
            attn_mask=bias,
            dropout_p=self.dropout if self.training else 0.0,
        )
        attended = attended.transpose(1, 2).reshape(batch, time, -1)
        return self.out_proj(attended), None


def take_relative_positions(upstream: Upstream) -> RelativePositions | None:
    """Move the biases of a WavLM out of its first layer, where they lie; None for other models.

    So every layer reads the same ones, whichever layers a branch owns or layer drop skips.
    """
    if not isinstance(upstream, WavLMModel):
        return None
    layers: list[Any] = list(upstream.encoder.layers)
    embedding: nn.Embedding = layers[0].attention.rel_attn_embed
    del layers[0].attention.rel_attn_embed
    for layer in layers:
        layer.attention.__class__ = RelativeAttention
    return RelativePositions(embedding, max_distance=upstream.config.max_bucket_distance)
