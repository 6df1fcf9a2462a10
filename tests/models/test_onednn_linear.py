import copy

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from w2v2_mt.models.onednn_linear import MIN_NUM_FEATURES, OneDnnLinear, use_onednn

DIM = MIN_NUM_FEATURES


@pytest.fixture
def layers():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(DIM, 2 * DIM), nn.GELU(), nn.Linear(2 * DIM, DIM, bias=False))


def outcome(layers, frames, *, run=lambda layers, frames: layers(frames)):
    """The output and all gradients of a random projection of it."""
    frames = frames.clone().requires_grad_()
    output = run(layers, frames)
    projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    gradients = torch.autograd.grad((output * projection).sum(), [frames, *layers.parameters()])
    return [output, *gradients]


def assert_alike(actual, expected):
    for value, expected_value in zip(actual, expected, strict=True):
        scale = expected_value.abs().max()
        torch.testing.assert_close(value / scale, expected_value / scale, atol=1e-5, rtol=0)


def test_outputs_and_gradients_are_those_of_the_plain_layers(layers):
    frames = torch.randn(3, 20, DIM)
    expected = outcome(layers, frames)
    use_onednn(layers)
    assert [type(layer) for layer in layers] == [OneDnnLinear, nn.GELU, OneDnnLinear]
    assert_alike(outcome(layers, frames), expected)


def test_it_works_under_gradient_checkpointing(layers):
    frames = torch.randn(3, 20, DIM)
    expected = outcome(layers, frames)
    use_onednn(layers)
    actual = outcome(
        layers,
        frames,
        run=lambda layers, frames: checkpoint(layers, frames, use_reentrant=False),
    )
    assert_alike(actual, expected)


def test_frames_need_not_lie_in_a_row(layers):
    frames = torch.randn(3, DIM, 20).transpose(1, 2)
    expected = layers(frames)
    use_onednn(layers)
    assert_alike([layers(frames)], [expected])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_other_types_than_float32_are_left_to_torch(layers, dtype):
    layers.to(dtype)
    frames = torch.randn(3, 20, DIM, dtype=dtype)
    expected = layers(frames)
    use_onednn(layers)
    torch.testing.assert_close(layers(frames), expected, atol=0, rtol=0)


def test_autocast_is_left_to_torch(layers):
    frames = torch.randn(3, 20, DIM)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layers(frames)
        use_onednn(layers)
        torch.testing.assert_close(layers(frames), expected, atol=0, rtol=0)


def test_narrow_layers_and_names_stay(layers):
    layers.append(nn.Linear(DIM, DIM - 1))
    expected = copy.deepcopy(layers.state_dict())
    use_onednn(layers)
    assert type(layers[-1]) is nn.Linear
    state = layers.state_dict()
    assert list(state) == list(expected)
    for name, value in state.items():
        assert torch.equal(value, expected[name])


def test_frozen_weights_get_no_gradient(layers):
    use_onednn(layers)
    layers.requires_grad_(False)
    frames = torch.randn(3, 20, DIM, requires_grad=True)
    layers(frames).sum().backward()
    assert frames.grad is not None
    assert all(parameter.grad is None for parameter in layers.parameters())


def test_no_more_is_kept_for_the_backward_pass_than_by_the_plain_layers(layers):
    def kept():
        pointers = {}

        def remember(tensor):
            pointers[tensor.data_ptr()] = tensor.nbytes
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(remember, lambda tensor: tensor):
            output = layers(frames)
        return sum(pointers.values()), output

    frames = torch.randn(3, 20, DIM, requires_grad=True)
    expected, _ = kept()
    use_onednn(layers)
    actual, _ = kept()
    assert actual == expected
