import pytest
import torch
from torch import nn

from tests.helpers.small_networks import UPSTREAMS, save_architecture, small_multi_task_network
from w2v2_mt.models.int8_linear import MIN_NUM_FEATURES, Int8Linear, quantize_linear_layers
from w2v2_mt.models.onednn_linear import OneDnnLinear

IN_DIM, OUT_DIM = 96, 40


def linear(*, bias: bool = True) -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(IN_DIM, OUT_DIM, bias=bias)


def random_frames(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, IN_DIM, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("bias", [True, False])
def test_multiples_of_a_step_are_multiplied_exactly(bias):
    layer = linear(bias=bias)
    generator = torch.Generator().manual_seed(2)
    weight = torch.randint(-127, 128, (OUT_DIM, IN_DIM), generator=generator)
    frames = torch.randint(-127, 128, (3, 5, IN_DIM), generator=generator)
    weight[:, 0] = frames[..., 0] = 127  # The largest magnitude of each row: the step is 1.
    with torch.no_grad():
        layer.weight.copy_(weight)
        expected = layer(frames.float())
    torch.testing.assert_close(Int8Linear(layer)(frames.float()), expected, rtol=1e-6, atol=0)


def test_the_error_is_at_most_that_of_rounding():
    """Each value is at most half a step off: |xw - x'w'| <= |x| dw + |w| dx + dx dw."""
    layer, frames = linear(), random_frames(7, 11)
    with torch.no_grad():
        error = (Int8Linear(layer)(frames) - layer(frames)).abs()
        of_frames = frames.abs().amax(dim=-1, keepdim=True) / 254
        of_weights = layer.weight.abs().amax(dim=1) / 254
        bound = frames.abs().sum(dim=-1, keepdim=True) * of_weights
        bound += layer.weight.abs().sum(dim=1) * of_frames + IN_DIM * of_frames * of_weights
    assert (error <= bound + 1e-6).all()
    assert error.max() > 1e-4  # It is not computed in float32.


def test_a_frame_does_not_depend_on_others():
    layer, frames = Int8Linear(linear()), random_frames(4, 3)
    frames[2] *= 1000
    for row, together in zip(frames, layer(frames), strict=True):
        assert torch.equal(layer(row[None])[0], together)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_only_a_frame_that_is_not_finite_becomes_so(value):
    frames = random_frames(4)
    frames[1, 5] = value
    is_finite = Int8Linear(linear())(frames).isfinite()
    assert (
        is_finite.all(dim=1).tolist() == is_finite.any(dim=1).tolist() == [True, False, True, True]
    )


def test_frames_of_zeros_give_the_bias_and_no_frames_give_none():
    layer = linear()
    zeros = torch.zeros(2, IN_DIM)
    assert torch.equal(Int8Linear(layer)(zeros), layer.bias.detach().expand(2, -1))
    assert Int8Linear(layer)(zeros[:0]).shape == (0, OUT_DIM)


def test_bf16_comes_out_as_it_went_in():
    frames = random_frames(2, 3).bfloat16()
    quantized = Int8Linear(linear())(frames)
    assert quantized.dtype == torch.bfloat16
    torch.testing.assert_close(quantized.float(), linear()(frames.float()), rtol=0.01, atol=0.02)


def test_wide_layers_are_replaced_and_narrow_ones_stay():
    wide, narrow = nn.Linear(MIN_NUM_FEATURES, 64), nn.Linear(64, MIN_NUM_FEATURES - 1)
    onednn = nn.Linear(64, 64)
    onednn.__class__ = OneDnnLinear
    module = nn.Sequential(wide, nn.Sequential(onednn, nn.GELU()), narrow)
    quantize_linear_layers(module)
    assert isinstance(module[0], Int8Linear)
    assert isinstance(module[1][0], Int8Linear)
    assert module[2] is narrow


@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_utterances_of_every_upstream_depend_on_themselves_only(tmp_path, upstream):
    torch.manual_seed(0)
    network = small_multi_task_network(save_architecture(str(tmp_path), upstream)).eval()
    waveforms = torch.randn(3, 8_000)
    num_samples = torch.tensor([8_000, 5_000, 2_000])
    with torch.no_grad():
        expected = network.answer(waveforms, num_samples)
        quantize_linear_layers(network.trunk.encoder)
        together = network.answer(waveforms, num_samples)
        for row, length in enumerate(num_samples.tolist()):
            alone = network.answer(waveforms[row : row + 1, :length], num_samples[row : row + 1])
            num_frames = alone["speech"].logits.shape[1]
            for ours, theirs, tolerance in [(alone, together, 2e-3), (alone, expected, 0.05)]:
                torch.testing.assert_close(
                    ours["speech"].logits[0],
                    theirs["speech"].logits[row, :num_frames],
                    rtol=0,
                    atol=tolerance,
                )
                torch.testing.assert_close(
                    ours["speaker"].embeddings[0],
                    theirs["speaker"].embeddings[row],
                    rtol=0,
                    atol=tolerance,
                )
    assert not torch.equal(together["speech"].logits, expected["speech"].logits)
