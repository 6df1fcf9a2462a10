"""Attention between the frames of an utterance, as fast as the CPU allows.

In bf16, the fused attention of torch does not use the matrix instructions of a CPU: products of
matrices are several times as fast, if the scores of a few heads at a time stay in the cache. The
scores are computed again in the backward pass (arXiv 2205.14135, section 3.1), so they take no
memory, and those of padding are not computed at all.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

BLOCKWISE_ATTENTION = "w2v2_mt_blockwise"
"""The name of `attend` in transformers."""

_MAX_SCORES = 2**20
"""Scores of one block, unless a single head has more: 2 MB in bf16, the size of a cache."""

Heads = Float[Tensor, "batch heads time dim"]


def attend(
    module: nn.Module,
    query: Heads,
    key: Heads,
    value: Heads,
    attention_mask: Bool[Tensor, "batch 1 1 time"] | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Float[Tensor, "batch time heads dim"], None]:
    """Return a weighted mean of values for each query, with the interface of transformers.

    The mask is True for the first frames of each utterance, which are attended to.
    """
    is_blockwise = query.device.type == "cpu" and query.dtype == torch.bfloat16
    if not is_blockwise or torch.onnx.is_in_onnx_export():
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
        return output, None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    batch, _, time, _ = query.shape
    lengths = [time] * batch if attention_mask is None else attention_mask[:, 0, 0].sum(1).tolist()
    with torch.autocast("cpu", enabled=False):
        attended = _BlockwiseAttention.apply(query * scale, key, value, lengths, dropout)
    return attended.transpose(1, 2), None


AttentionInterface.register(BLOCKWISE_ATTENTION, attend)


class _Block(NamedTuple):
    """Some heads of some utterances that have the same length."""

    rows: slice
    heads: slice
    length: int

    def of(self, tensor: Heads) -> Float[Tensor, "rows length dim"]:
        """Return the part of a tensor in this block."""
        return tensor[self.rows, self.heads, : self.length].flatten(0, 1)

    def put(self, part: Float[Tensor, "rows length dim"], tensor: Heads) -> None:
        """Write a part into this block of a tensor."""
        place = tensor[self.rows, self.heads, : self.length]
        place.copy_(part.view(place.shape))


def _blocks(lengths: Sequence[int], num_heads: int) -> Iterator[_Block]:
    start = 0
    for length, group in groupby(lengths):
        end = start + len(list(group))
        num_fitting = max(1, _MAX_SCORES // max(1, length) ** 2)
        num_rows = max(1, num_fitting // num_heads)
        for row in range(start, end, num_rows):
            for head in range(0, num_heads, num_fitting):
                heads = slice(head, min(head + num_fitting, num_heads))
                yield _Block(slice(row, min(row + num_rows, end)), heads, length)
        start = end


class _Dropout:
    """Masks that a second pass with the same seed draws again."""

    def __init__(self, probability: float, seed: int):
        # Of 16 random bits each, four times as fast as one number each.
        self.num_dropped = round(probability * 2**16)
        self.generator = torch.Generator().manual_seed(seed)

    def draw_scale(self, weights: Tensor) -> Tensor | None:
        """Return the factors of weights: 0, or the inverse of the share that is kept."""
        if self.num_dropped == 0:
            return None
        numbers = torch.empty((weights.numel() + 3) // 4, dtype=torch.int64)
        numbers.random_(-(2**63), None, generator=self.generator)
        bits = numbers.view(torch.int16)[: weights.numel()].view(weights.shape)
        kept = (bits >= self.num_dropped - 2**15).to(weights.dtype)
        return kept.mul_(2**16 / (2**16 - self.num_dropped))


def _weights(query: Tensor, key: Tensor) -> Tensor:
    return torch.softmax(torch.bmm(query, key.transpose(1, 2)), dim=-1)


class _BlockwiseAttention(torch.autograd.Function):
    """softmax(query @ key^T) @ value, with dropout of the softmax."""

    @staticmethod
    def forward(
        ctx: Any,
        query: Heads,
        key: Heads,
        value: Heads,
        lengths: Sequence[int],
        dropout: float,
    ) -> Heads:
        """Attend block by block; padding has zeros."""
        batch, num_heads, time, dim = query.shape
        ctx.save_for_backward(query, key, value)
        ctx.lengths, ctx.dropout = lengths, dropout
        ctx.seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
        masks = _Dropout(dropout, ctx.seed)
        output = query.new_zeros(batch, time, num_heads, dim).transpose(1, 2)
        for block in _blocks(lengths, num_heads):
            weights = _weights(block.of(query), block.of(key))
            if (scale := masks.draw_scale(weights)) is not None:
                weights.mul_(scale)
            block.put(torch.bmm(weights, block.of(value)), output)
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Heads) -> tuple[Heads, Heads, Heads, None, None]:
        query, key, value = ctx.saved_tensors
        batch, num_heads, time, dim = query.shape
        masks = _Dropout(ctx.dropout, ctx.seed)
        of_query, of_key, of_value = (
            query.new_zeros(batch, time, num_heads, dim).transpose(1, 2) for _ in range(3)
        )
        for block in _blocks(ctx.lengths, num_heads):
            own_query, own_key, own = block.of(query), block.of(key), block.of(gradient)
            weights = _weights(own_query, own_key)
            scale = masks.draw_scale(weights)
            of_weights = torch.bmm(own, block.of(value).transpose(1, 2))
            dropped = weights
            if scale is not None:
                dropped, of_weights = weights * scale, of_weights.mul_(scale)
            block.put(torch.bmm(dropped.transpose(1, 2), own), of_value)
            # The derivative of a softmax: weights * (g - sum(weights * g)).
            of_scores = torch._softmax_backward_data(of_weights, weights, -1, weights.dtype)
            block.put(torch.bmm(of_scores, own_key), of_query)
            block.put(torch.bmm(of_scores.transpose(1, 2), own_query), of_key)
        return of_query, of_key, of_value, None, None
