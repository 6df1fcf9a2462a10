"""Samples to frames: how many remain after a stack of convolutions."""

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

Count = TypeVar("Count", int, Tensor)


def frames_from_samples(
    num_samples: Count, *, kernel_sizes: Sequence[int], strides: Sequence[int]
) -> Count:
    """The number of frames that a stack of unpadded convolutions makes of a number of samples.

    Works on an int and, elementwise, on an integer tensor. Zero when the audio is shorter than the
    receptive field of one frame.
    """
    length = num_samples
    for kernel_size, stride in zip(kernel_sizes, strides, strict=True):
        length = (length - kernel_size) // stride + 1
        length = length.clamp(min=0) if isinstance(length, Tensor) else max(length, 0)
    return length
