import pytest
import torch
from torch import nn

from w2v2_mt.models.convolution import convolve_over_time


@pytest.mark.parametrize(
    "sizes",
    [
        {"in_channels": 1, "kernel_size": 10, "stride": 5},
        {"in_channels": 1, "kernel_size": 3, "padding": 1},
        {"in_channels": 1, "kernel_size": 3, "dilation": 2, "bias": False},
        {"in_channels": 8, "kernel_size": 3, "stride": 2},
        {"in_channels": 8, "kernel_size": 4, "padding": 2, "groups": 4},
        {"in_channels": 8, "kernel_size": 3, "dilation": 3, "bias": False},
        {"in_channels": 8, "kernel_size": 3, "padding": "same"},
        {"in_channels": 8, "kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    ],
    ids=str,
)
def test_outputs_and_gradients_are_those_of_the_plain_convolution(sizes):
    torch.manual_seed(1)
    convolution = nn.Conv1d(out_channels=12, **sizes)
    frames = torch.randn(3, sizes["in_channels"], 40, requires_grad=True)
    expected, output = convolution(frames), convolve_over_time(convolution, frames)
    torch.testing.assert_close(output, expected)
    projection = torch.randn_like(expected)
    inputs = [frames, *convolution.parameters()]
    for own, plain in zip(
        torch.autograd.grad((output * projection).sum(), inputs),
        torch.autograd.grad((expected * projection).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(own, plain, atol=1e-5, rtol=1e-5)


def test_channels_of_the_output_are_neighbors_in_memory():
    torch.manual_seed(1)
    frames = torch.randn(2, 1, 100)
    frames = convolve_over_time(nn.Conv1d(1, 8, 10, stride=5), frames)
    for _ in range(2):
        frames = convolve_over_time(nn.Conv1d(8, 8, 3, stride=2), frames)
        assert frames.transpose(1, 2).is_contiguous()
