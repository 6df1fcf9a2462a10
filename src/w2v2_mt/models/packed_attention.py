"""The attention of transformers' models over packed frames: each utterance attends to itself."""

from itertools import accumulate
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from transformers import AttentionInterface

from w2v2_mt.models.attention import attend as attend_padded
from w2v2_mt.models.packing import Packing, join

PACKED_ATTENTION = "packed_sdpa"
"""The name of `attend` as an attention implementation of transformers."""


def attend(
    module: nn.Module,
    query: Float[Tensor, "batch heads time head_dim"],
    key: Float[Tensor, "batch heads time head_dim"],
    value: Float[Tensor, "batch heads time head_dim"],
    attention_mask: Tensor | None,
    *,
    packing: Packing | None = None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Float[Tensor, "batch time heads head_dim"], None]:
    """Attend to the frames of the mask or, in packed frames, to those of the same utterance."""
    if packing is None:
        options |= {"dropout": dropout, "scaling": scaling}
        return attend_padded(module, query, key, value, attention_mask, **options)
    # One kernel for all lengths exists on GPUs only.
    attend_packed = attend_at_once if query.is_cuda else attend_run_by_run
    projections = [each.transpose(1, 2) for each in (query, key, value)]
    return attend_packed(*projections, packing=packing, dropout=dropout, scaling=scaling), None


AttentionInterface.register(PACKED_ATTENTION, attend)


def attend_run_by_run(
    query: Float[Tensor, "1 total heads head_dim"],
    key: Float[Tensor, "1 total heads head_dim"],
    value: Float[Tensor, "1 total heads head_dim"],
    *,
    packing: Packing,
    dropout: float,
    scaling: float | None,
) -> Float[Tensor, "1 total heads head_dim"]:
    """Attend with one kernel for each run of utterances of equal length."""
    attended = []
    for run in zip(*(packing.split(each) for each in (query, key, value)), strict=True):
        own_query, own_key, own_value = (each.transpose(1, 2) for each in run)
        of_run, _ = attend_padded(
            nn.Identity(),
            own_query,
            own_key,
            own_value,
            None,
            dropout=dropout,
            scaling=scaling,
            is_causal=False,
        )
        attended.append(of_run)
    return join(attended)


def attend_at_once(
    query: Float[Tensor, "1 total heads head_dim"],
    key: Float[Tensor, "1 total heads head_dim"],
    value: Float[Tensor, "1 total heads head_dim"],
    *,
    packing: Packing,
    dropout: float,
    scaling: float | None,
) -> Float[Tensor, "1 total heads head_dim"]:
    """Attend with one kernel for utterances of any lengths."""
    offsets = torch.tensor([0, *accumulate(packing.lengths)], device=query.device)
    nested_query, nested_key, nested_value = (
        torch.nested.nested_tensor_from_jagged(
            each.squeeze(0), offsets, min_seqlen=min(packing.lengths), max_seqlen=packing.longest
        ).transpose(1, 2)
        for each in (query, key, value)
    )
    attended = F.scaled_dot_product_attention(
        nested_query, nested_key, nested_value, dropout_p=dropout, scale=scaling
    )
    return attended.transpose(1, 2).values()[None]
