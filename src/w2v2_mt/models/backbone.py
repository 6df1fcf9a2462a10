"""The pretrained front end: waveforms to projected frames, 20 ms apart.

HuggingFace's modules and weights, with a forward of ours that knows the length of each utterance,
so that padding never changes a real frame.
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from w2v2_mt.core.frames import frames_from_samples
from w2v2_mt.core.padding import is_known_unpadded, real_mask
from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.models.upstream import Upstream


def masked_group_norm(
    frames: Float[Tensor, "batch channels time"],
    norm: nn.GroupNorm,
    num_frames: Int[Tensor, " batch"],
) -> Float[Tensor, "batch channels time"]:
    """Normalise each channel over the real frames of its utterance only.

    The first convolution of a "base" wav2vec2 has one group per channel: its statistics run over
    time and would otherwise count the padding. Source: arXiv 1803.08494, eq. 2, with S_i cut to
    real frames.
    """
    assert norm.num_groups == norm.num_channels
    time = frames.shape[-1]
    if is_known_unpadded(num_frames, time):
        return norm(frames)
    with torch.autocast(frames.device.type, enabled=False):
        is_real = real_mask(num_frames, time)[:, None, :]
        count = num_frames.clamp(min=1)[:, None, None]
        # In place where it can be: at this length, memory costs more than arithmetic.
        values = torch.where(is_real, frames.float(), 0)
        centred = values.sub_(_sums(values) / count).mul_(is_real)
        variance = _sums_of_squares(centred) / count
        scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
        return torch.addcmul(norm.bias[:, None], centred, scale).to(frames.dtype)


def _sums(values: Float[Tensor, "batch channels time"]) -> Float[Tensor, "batch channels 1"]:
    """Over time. In an exported graph by a product of matrices.

    Other tools form a sum one value after the other, which costs digits where there are many.
    """
    if torch.onnx.is_in_onnx_export():
        return values @ torch.ones_like(values[:, :1]).transpose(1, 2)
    return values.sum(dim=-1, keepdim=True)


def _sums_of_squares(
    values: Float[Tensor, "batch channels time"],
) -> Float[Tensor, "batch channels 1"]:
    """Over time."""
    if torch.onnx.is_in_onnx_export():
        return _sums(values.square())
    return torch.linalg.vector_norm(values, dim=-1, keepdim=True).square()


class Backbone(nn.Module):
    """Seven convolutions, layer norm and projection.

    Args:
        upstream: where the modules come from; they are shared, not copied.
        freeze_convolutions: run the convolutions without gradient and in eval mode, always.
        use_gradient_checkpointing: recompute trained convolutions in the backward pass.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        freeze_convolutions: bool,
        use_gradient_checkpointing: bool,
    ):
        super().__init__()
        self.convolutions = upstream.feature_extractor.conv_layers
        self.projection = upstream.feature_projection
        self.freeze_convolutions = freeze_convolutions
        self.use_gradient_checkpointing = use_gradient_checkpointing
        self.kernel_sizes = tuple(upstream.config.conv_kernel)
        self.strides = tuple(upstream.config.conv_stride)
        if freeze_convolutions:
            self.convolutions.requires_grad_(False)
            self.convolutions.eval()

    @property
    def out_dim(self) -> int:
        return self.projection.projection.out_features

    @property
    def num_samples_per_frame(self) -> int:
        """The distance between the beginnings of two frames."""
        return math.prod(self.strides)

    def train(self, mode: bool = True) -> "Backbone":
        super().train(mode)
        if self.freeze_convolutions:
            self.convolutions.eval()
        return self

    def num_frames(self, num_samples: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        return frames_from_samples(
            num_samples, kernel_sizes=self.kernel_sizes, strides=self.strides
        )

    def forward(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch time dim"], Int[Tensor, " batch"]]:
        """Projected frames and how many of each row are real; the others hold arbitrary values.

        Raises:
            ValueError: the longest waveform is too short for a single frame.
        """
        longest = waveforms.shape[1]
        if frames_from_samples(longest, kernel_sizes=self.kernel_sizes, strides=self.strides) == 0:
            raise ValueError(
                f"the longest waveform of the batch has {longest} samples, too few for one frame; "
                f"give at least {self._receptive_field()} samples "
                f"({1000 * self._receptive_field() / SAMPLE_RATE_HZ:.0f} ms)."
            )
        gradient = torch.is_grad_enabled() and not self.freeze_convolutions
        with torch.set_grad_enabled(gradient):
            frames = self._convolve(waveforms, num_samples)
        projected = self.projection(frames.transpose(1, 2))  # [batch, time, dim]
        # All but HuBERT give what they projected as well.
        frames = projected[0] if isinstance(projected, tuple) else projected
        return frames, self.num_frames(num_samples)

    def _convolve(
        self, waveforms: Float[Tensor, "batch samples"], num_samples: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch channels time"]:
        frames = waveforms[:, None]
        for index, layer in enumerate(self.convolutions):
            length = frames_from_samples(
                num_samples,
                kernel_sizes=self.kernel_sizes[: index + 1],
                strides=self.strides[: index + 1],
            )
            if self.use_gradient_checkpointing and torch.is_grad_enabled():
                frames = checkpoint(_convolve_once, layer, frames, length, use_reentrant=False)
            else:
                frames = _convolve_once(layer, frames, length)
        return frames

    def _receptive_field(self) -> int:
        field = 1
        for kernel_size, stride in zip(
            reversed(self.kernel_sizes), reversed(self.strides), strict=True
        ):
            field = (field - 1) * stride + kernel_size
        return field


def _convolve_once(
    layer: Any,
    frames: Float[Tensor, "batch channels_in time_in"],
    length: Int[Tensor, " batch"],
) -> Float[Tensor, "batch channels_out time_out"]:
    norm = getattr(layer, "layer_norm", None)
    if not isinstance(norm, nn.GroupNorm):
        return layer(frames)
    frames = masked_group_norm(layer.conv(frames), norm, length)
    return layer.activation(frames)
