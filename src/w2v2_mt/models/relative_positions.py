"""Learned relative positions, the attention bias of WavLM."""

import math
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from transformers.models.wavlm.modeling_wavlm import WavLMAttention

from w2v2_mt.models.packing import Packing, join


class RelativePositions(nn.Module):
    """A learned attention bias per head and distance between two frames, shared by all layers.

    Distances fall into buckets that grow with the distance; earlier and later frames have their
    own.

    Source: WavLM, arXiv 2110.13900, section III-A, with the buckets of T5, arXiv 1910.10683.
    """

    def __init__(self, embedding: nn.Embedding, *, max_distance: int):
        super().__init__()
        self.embedding = embedding
        self.max_distance = max_distance

    def forward(self, num_frames: int) -> Float[Tensor, "heads time time"]:
        """Return the bias of each pair of frames."""
        positions = torch.arange(num_frames, device=self.embedding.weight.device)
        distances = positions[None, :] - positions[:, None]
        num_each_way = self.embedding.num_embeddings // 2
        num_exact = num_each_way // 2
        size = distances.abs()
        growth = torch.log(size.clamp(min=1) / num_exact) / math.log(self.max_distance / num_exact)
        coarse = num_exact + (growth * (num_each_way - num_exact)).long()
        buckets = torch.where(size < num_exact, size, coarse.clamp(max=num_each_way - 1))
        buckets = buckets + num_each_way * (distances > 0)
        return self.embedding(buckets).permute(2, 0, 1)


class RelativeAttention(WavLMAttention):
    """WavLM's attention through torch's fused kernel; that of transformers stores all weights."""

    def forward(
        self,
        hidden_states: Float[Tensor, "batch time dim"],
        attention_mask: Bool[Tensor, "batch time"] | None = None,
        position_bias: Float[Tensor, "... longest longest"] | None = None,
        index: int = 0,
        *,
        packing: Packing | None = None,
        **options: Any,
    ) -> tuple[Float[Tensor, "batch time dim"], Tensor | None, Any]:
        """Attend as in transformers or, in packed frames, to those of the same utterance.

        `position_bias` is that of the longest utterance then, `[heads, longest, longest]`.
        """
        if packing is None:
            return super().forward(hidden_states, attention_mask, position_bias, index, **options)
        assert position_bias is not None
        projections = [self.q_proj, self.k_proj, self.v_proj]
        heads = [each(hidden_states).unflatten(2, (self.num_heads, -1)) for each in projections]
        gates = packing.split(self._gates(hidden_states))
        attended = []
        for own_gates, *run in zip(gates, *map(packing.split, heads), strict=True):
            time = own_gates.shape[1]
            bias = own_gates.transpose(1, 2)[..., None] * position_bias[:, :time, :time]
            query, key, value = (each.transpose(1, 2) for each in run)
            of_run = nn.functional.scaled_dot_product_attention(
                query,
                key,
                value,
                attn_mask=bias.to(query.dtype),
                dropout_p=self.dropout if self.training else 0.0,
            )
            attended.append(of_run.transpose(1, 2))
        return self.out_proj(join(attended).flatten(start_dim=2)), None, position_bias

    def _gates(self, frames: Float[Tensor, "1 total dim"]) -> Float[Tensor, "1 total heads"]:
        """Return the factor of the bias at each frame, as the `forward` of transformers does."""
        projected = self.gru_rel_pos_linear(frames.unflatten(2, (self.num_heads, -1)))
        first, second = projected.unflatten(3, (2, 4)).sum(dim=4).sigmoid().unbind(dim=3)
        return first * (second * self.gru_rel_pos_const.flatten() - 1) + 2

    def torch_multi_head_self_attention(  # type: ignore[override]
        self,
        hidden_states: Float[Tensor, "batch time dim"],
        attention_mask: Bool[Tensor, "batch time"] | None,
        gated_position_bias: Float[Tensor, "batch_heads time time"],
    ) -> tuple[Float[Tensor, "batch time dim"], None]:
        """Attend to the frames where `attention_mask` is True; None attends to all."""
        batch, time, _ = hidden_states.shape

        def heads(projection: nn.Module) -> Float[Tensor, "batch heads time head_dim"]:
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
