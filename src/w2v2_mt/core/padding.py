"""Padded tensors and their masks; a mask is True where an element is real."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


def real_mask(lengths: Int[Tensor, " batch"], max_length: int) -> Bool[Tensor, "batch time"]:
    """True at the first `lengths[i]` positions of row i."""
    positions = torch.arange(max_length, device=lengths.device)
    return positions[None, :] < lengths[:, None]


def pad_sequences(
    sequences: Sequence[Shaped[Tensor, " _"]],
) -> tuple[Shaped[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Stack one-dimensional tensors of different lengths, zeros behind, with their lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    padded = torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True)
    return padded, lengths


def is_known_unpadded(lengths: Int[Tensor, " batch"], max_length: int) -> bool:
    """Whether every element is real, as far as that is known without waiting for a device.

    False for lengths on a GPU: asking would stall the step, and a mask does no harm.
    """
    return lengths.device.type == "cpu" and bool((lengths == max_length).all())
