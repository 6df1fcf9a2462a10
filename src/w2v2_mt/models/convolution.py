"""Convolutions over time, as fast as the CPU allows.

oneDNN convolves twice as fast where the channels of a frame are neighbors in memory, which torch
knows of images only, and which the layer norms and linear layers around a convolution want anyway.
A convolution of a single channel is a product of matrices in bf16.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


def convolve_over_time(
    convolution: nn.Conv1d, frames: Float[Tensor, "batch channels_in time_in"]
) -> Float[Tensor, "batch channels_out time_out"]:
    """Apply a convolution; on a CPU, the channels of its output are neighbors in memory."""
    sizes: Any = (convolution.stride, convolution.padding, convolution.dilation)
    is_plain = convolution.padding_mode == "zeros" and not isinstance(convolution.padding, str)
    if frames.device.type != "cpu" or not is_plain or torch.onnx.is_in_onnx_export():
        output: Tensor = convolution(frames)
        return output
    weight, bias = convolution.weight, convolution.bias
    (stride,), (padding,), (dilation,) = sizes
    if frames.shape[1] == 1 and padding == 0 and dilation == 1:
        if not torch.is_autocast_enabled("cpu"):
            # A product rounds more coarsely, which shows if a waveform has an offset.
            plain: Tensor = convolution(frames)
            return plain
        windows = frames[:, 0].unfold(-1, weight.shape[2], stride)  # [batch, time, kernel]
        return F.linear(windows, weight[:, 0], bias).transpose(1, 2)
    # An image of one row.
    return F.conv2d(
        frames[:, :, None].contiguous(memory_format=torch.channels_last),
        weight[:, :, None].contiguous(memory_format=torch.channels_last),
        bias,
        stride=(1, stride),
        padding=(0, padding),
        dilation=(1, dilation),
        groups=convolution.groups,
    ).squeeze(2)
