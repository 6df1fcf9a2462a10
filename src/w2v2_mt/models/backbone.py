"""The pretrained front end: waveforms to projected frames, 20 ms apart.

The modules and weights are those of transformers; the forward pass receives the length of each
utterance, so that padding never changes a valid frame.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from w2v2_mt.core import units
from w2v2_mt.core.batches import WaveformBatch
from w2v2_mt.core.padding import Count, frames_from_samples
from w2v2_mt.models.packing import Packing, join
from w2v2_mt.models.shapes import Frames, Lengths, PackedFrames, Waveforms
from w2v2_mt.models.upstream_kinds import UpstreamKind


class Backbone(nn.Module):
    """The convolutions, layer norm and projection of a pretrained model, shared and not copied.

    Frozen convolutions always run without gradient and in eval mode; with `recompute`, trained ones
    are computed again in the backward pass.
    """

    def __init__(
        self, upstream: Any, kind: UpstreamKind, *, freeze_convolutions: bool, recompute: bool
    ):
        super().__init__()
        self.kind = kind
        self.convolutions = upstream.feature_extractor.conv_layers
        self.projection = upstream.feature_projection
        self.freeze_convolutions = freeze_convolutions
        self.recompute = recompute
        self.kernel_sizes = tuple(upstream.config.conv_kernel)
        self.strides = tuple(upstream.config.conv_stride)
        if freeze_convolutions:
            self.convolutions.requires_grad_(False)
            self.convolutions.eval()

    @property
    def num_samples_per_frame(self) -> int:
        """Return the distance between the starts of two frames."""
        return math.prod(self.strides)

    @property
    def too_short_for_a_frame(self) -> str:
        """Return the end of a sentence on a waveform without a frame, with the least length."""
        shortest = next(length for length in count() if self.num_frames(length) > 0)
        duration = f"{1000 * shortest / units.SAMPLE_RATE_HZ:.0f} ms"
        return f"too few for one frame; give at least {shortest} samples ({duration})"

    def train(self, mode: bool = True) -> "Backbone":
        """Set the mode of all but frozen convolutions."""
        super().train(mode)
        if self.freeze_convolutions:
            self.convolutions.eval()
        return self

    def num_frames(self, num_samples: Count) -> Count:
        """Return the number of frames of waveforms of these lengths."""
        return frames_from_samples(
            num_samples, kernel_sizes=self.kernel_sizes, strides=self.strides
        )

    def check_lengths(self, batch: WaveformBatch) -> None:
        """Raise a ValueError if an utterance has no frame; on a GPU, lengths are not read."""
        if batch.num_samples.device.type != "cpu":
            return
        for key, num_samples in zip(batch.keys, batch.num_samples.tolist(), strict=True):
            if self.num_frames(num_samples) == 0:
                raise ValueError(
                    f"Utterance {key} of the set {batch.set_name} has "
                    f"{units.count(num_samples, 'sample')}, {self.too_short_for_a_frame}. Remove "
                    "it from the data or, if chunks are so short, raise desired_chunk_length_sec."
                )

    def forward(self, waveforms: Waveforms, num_samples: Lengths) -> tuple[Frames, Lengths]:
        """Return projected frames, arbitrary values as padding, and the number of valid ones.

        Raises:
            ValueError: The longest waveform is too short for a single frame.
        """
        longest = waveforms.shape[1]
        if self.num_frames(longest) == 0:
            raise ValueError(
                f"the longest waveform of the batch has {longest} samples, "
                f"{self.too_short_for_a_frame}."
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_convolutions):
            convolve: Callable[..., Tensor] = self.kind.convolve
            if self.recompute and torch.is_grad_enabled():
                convolve = partial(checkpoint, convolve, use_reentrant=False)
            frames, num_frames = waveforms[:, None], num_samples  # [batch, channels, time]
            for layer, kernel_size, stride in zip(
                self.convolutions, self.kernel_sizes, self.strides, strict=True
            ):
                num_frames = frames_from_samples(
                    num_frames, kernel_sizes=[kernel_size], strides=[stride]
                )
                frames = convolve(layer, frames, num_frames)
        return self.kind.project(self.projection, frames.transpose(1, 2)), num_frames

    def pack(
        self, waveforms: Waveforms, num_samples: Sequence[int]
    ) -> tuple[PackedFrames, Packing]:
        """Return packed frames of waveforms of which one has a frame at least.

        Neighbours of equal length are computed at once, without their padding.
        """
        parts, row = [], 0
        for length, run in groupby(num_samples):
            lengths = torch.tensor([length for _ in run])  # On the host: a run has no padding.
            if self.num_frames(length) > 0:
                frames, _ = self(waveforms[row : row + len(lengths), :length], lengths)
                parts.append(frames)
            row += len(lengths)
        return join(parts), Packing(tuple(self.num_frames(length) for length in num_samples))
