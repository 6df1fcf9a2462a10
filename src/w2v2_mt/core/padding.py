"""Padding of sequences and padding masks (True = valid)."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from jaxtyping import Bool, Int, Shaped
from torch import Tensor

MAX_BYTES_BY_VALUE = 1 << 18
"""A tensor of this size is copied to another process faster than it is shared with it."""


def padding_mask(lengths: Int[Tensor, " batch"], max_length: int) -> Bool[Tensor, "batch time"]:
    """Return a padding mask that is True at the first `lengths[i]` positions of row i."""
    positions = torch.arange(max_length, device=lengths.device)
    return positions[None, :] < lengths[:, None]


def pad_sequences(
    sequences: Sequence[Shaped[Tensor, " _"]], *, in_shared_memory: bool = False
) -> tuple[Shaped[Tensor, "batch time"], Int[Tensor, " batch"]]:
    """Stack one-dimensional tensors, padded with zeros, and return them with their lengths.

    Args:
        in_shared_memory: Write the padded tensor into shared memory, if it is not small.

    Raises:
        ValueError: It does not fit into the shared memory.
    """
    numbers = [len(sequence) for sequence in sequences]
    lengths = torch.tensor(numbers)
    shape, like = (len(sequences), max(numbers)), sequences[0]
    num_bytes = math.prod(shape) * like.itemsize
    if not in_shared_memory or num_bytes <= MAX_BYTES_BY_VALUE:
        return torch.nn.utils.rnn.pad_sequence(list(sequences), batch_first=True), lengths
    try:
        # New shared memory holds zeros.
        padded = like.new_empty(0).set_(torch.UntypedStorage._new_shared(num_bytes)).view(shape)
    except RuntimeError as error:
        raise ValueError(
            f"a batch of {len(sequences)} utterances does not fit into the shared memory "
            "(/dev/shm), through which DataLoader workers pass it. Enlarge it, in a container "
            "with --shm-size=8g, or set num_workers=0."
        ) from error
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


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
