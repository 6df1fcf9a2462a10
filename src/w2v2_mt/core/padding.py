"""Padding of sequences and padding masks (True = valid)."""

from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


def padding_mask(lengths: Int[Tensor, " batch"], max_length: int) -> Bool[Tensor, "batch time"]:
    """Return a padding mask that is True at the first `lengths[i]` positions of row i."""
    positions = torch.arange(max_length, device=lengths.device)
    return positions[None, :] < lengths[:, None]


def pad_sequences(
    sequences: Sequence[Shaped[Tensor, " _"]],
) -> tuple[Shaped[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Stack one-dimensional tensors, padded with zeros, and return them with their lengths."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    return torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths


def is_known_unpadded(lengths: Int[Tensor, " batch"], max_length: int) -> bool:
    """Return True if there is no padding, as far as this is known without waiting for a device.

    False for lengths on a GPU: reading them would stall the step, and one mask more is harmless.
    """
    return lengths.device.type == "cpu" and bool((lengths == max_length).all())


Count = TypeVar("Count", int, Tensor)


def frames_from_samples(
    num_samples: Count, *, kernel_sizes: Sequence[int], strides: Sequence[int]
) -> Count:
    """Return the number of frames of a stack of unpadded convolutions, 0 for too short audio."""
    length = num_samples
    for kernel_size, stride in zip(kernel_sizes, strides, strict=True):
        # Of negative numbers, torch's division and that of an ONNX graph differ.
        length = length - kernel_size + stride
        length = length.clamp(min=0) if isinstance(length, Tensor) else max(length, 0)
        length = length // stride
    return length
