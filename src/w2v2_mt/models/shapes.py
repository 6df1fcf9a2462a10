"""The tensors that the modules of a network pass to each other, with their shapes."""

from typing import TypeAlias

from jaxtyping import Bool, Float, Int
from torch import Tensor

Waveforms: TypeAlias = Float[Tensor, "batch samples"]
"""Normalized waveforms at 16 kHz, padded to the longest."""

Lengths: TypeAlias = Int[Tensor, " batch"]
"""The number of valid samples or frames of each utterance; those after them are padding."""

Rows: TypeAlias = Int[Tensor, " rows"]
"""The positions of utterances in a batch."""

Frames: TypeAlias = Float[Tensor, "batch time dim"]

PackedFrames: TypeAlias = Float[Tensor, "1 total dim"]
"""The frames of all utterances, one after the other, without padding."""

LayerFrames: TypeAlias = Float[Tensor, "*layers batch time dim"]
"""Frames of one layer or, as the first dimension, the input of the first layer and the output of
each."""

HeadFrames: TypeAlias = Float[Tensor, "*layers batch time head_dim"]
"""The same with the values that a head reads."""

FrameMask: TypeAlias = Bool[Tensor, "batch time"]
"""A mask that is True where a frame is valid or, in a mask of selected frames, is pooled."""

Embeddings: TypeAlias = Float[Tensor, "batch out_dim"]

PairBias: TypeAlias = Float[Tensor, "batch_heads time time"]
"""The bias that relative positions add to the attention weights of each pair of frames."""
