import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from w2v2_mt.core.padding import padding_mask
from w2v2_mt.models import attention
from w2v2_mt.models.attention import attend

MODULE: Any = nn.Identity()
MODULE.is_causal = False  # What the attention of transformers asks of its layer.


@pytest.fixture(params=[2**20, 500, 1], ids="{}-scores".format)
def block_size(request, monkeypatch):
    monkeypatch.setattr(attention, "_MAX_SCORES", request.param)


def draw_heads(*, time=20, dtype=torch.bfloat16):
    torch.manual_seed(1)
    # The layout of a layer: heads are the last dimension but one in memory.
    return [torch.randn(4, time, 3, 8).to(dtype).transpose(1, 2).requires_grad_() for _ in range(3)]


def attend_all(heads, mask=None, **options):
    """The attention of a query, a key and a value."""
    query, key, value = heads
    return attend(MODULE, query, key, value, mask, **options)[0]


def outcome(output, heads, *, mask=None):
    """The output and gradients of its valid frames."""
    projection = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    if mask is not None:
        projection, output = projection * mask[:, 0, 0, :, None, None], output.float()
        output = output * mask[:, 0, 0, :, None, None]
    return [output, *torch.autograd.grad((output * projection).sum(), heads)]


@pytest.mark.parametrize("lengths", [[20, 20, 20, 20], [20, 7, 7, 1]], ids=str)
def test_outputs_and_gradients_are_those_of_the_fused_attention(lengths, block_size):
    mask = padding_mask(torch.tensor(lengths), 20)[:, None, None, :]
    heads = draw_heads()
    actual = outcome(attend_all(heads, mask), heads, mask=mask)
    wide = [each.detach().float().requires_grad_() for each in heads]
    fused = scaled_dot_product_attention(wide[0], wide[1], wide[2], attn_mask=mask).transpose(1, 2)
    for own, expected in zip(actual, outcome(fused, wide, mask=mask), strict=True):
        torch.testing.assert_close(own.float(), expected, atol=0.03, rtol=0.02)


def test_float32_is_the_fused_attention_of_torch():
    heads = draw_heads(dtype=torch.float32)
    expected = scaled_dot_product_attention(heads[0], heads[1], heads[2]).transpose(1, 2)
    assert torch.equal(attend_all(heads), expected)


def test_dropout_keeps_the_mean_and_drops_its_share():
    heads = [torch.zeros(1, 2, 400, 4, dtype=torch.bfloat16) for _ in range(2)]
    value = torch.ones(1, 2, 400, 4, dtype=torch.bfloat16)
    torch.manual_seed(3)
    output = attend_all([*heads, value], dropout=0.25)
    # Equal weights of 1/400: the output is the share of kept weights divided by 0.75.
    kept = 0.75 * output[..., 0].flatten().float()
    assert abs(kept.mean().item() - 0.75) < 0.005  # 3 standard deviations are 0.0023.
    assert abs(kept.std().item() - (0.75 * 0.25 / 400) ** 0.5) < 0.003


def test_gradients_use_the_dropout_of_the_forward_pass(block_size):
    torch.manual_seed(4)
    heads = [each.detach().double().requires_grad_() for each in draw_heads(time=5)]

    def dropped(*heads):
        torch.manual_seed(5)
        return attention._BlockwiseAttention.apply(*heads, [5, 5, 3, 1], 0.5)

    assert torch.autograd.gradcheck(dropped, heads, fast_mode=True)


def test_a_recomputed_pass_draws_the_same_dropout():
    heads = draw_heads()
    gradients = []
    for run in (lambda function, *own: function(*own), checkpoint):
        torch.manual_seed(6)
        kwargs = {"use_reentrant": False} if run is checkpoint else {}
        output = run(lambda *own: attend_all(own, dropout=0.5), *heads, **kwargs)
        gradients.append(outcome(output, heads))
    for plain, recomputed in zip(*gradients, strict=True):
        assert torch.equal(plain, recomputed)


def test_padding_has_zeros_and_does_not_change_valid_frames():
    heads = [each.detach() for each in draw_heads()]
    mask = padding_mask(torch.tensor([20, 12, 5, 0]).clamp(min=1), 20)[:, None, None, :]
    output = attend_all(heads, mask)
    others = [copy.deepcopy(each) for each in heads]
    for each in others:
        each[1, :, 12:] = 100
    assert torch.equal(attend_all(others, mask), output)
    assert output[1, 12:].eq(0).all()
