import pytest
import torch
from pytorch_lightning.plugins import MixedPrecision
from pytorch_lightning.utilities import GradClipAlgorithmType

from w2v2_mt.optim.optimizers import Adam, Sgd


def parameter_after(optimizer, parameter, gradients):
    for gradient in gradients:
        parameter.grad = torch.tensor([gradient])
        optimizer.step()
    return parameter.item()


def test_the_first_step_of_adam_is_as_long_as_the_learning_rate():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Adam(lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0).build([parameter])
    assert parameter_after(optimizer, parameter, [123.0]) == pytest.approx(0.9)


def test_a_scaler_of_gradients_unscales_them_before_they_are_clipped():
    ours, plain = (torch.nn.Parameter(torch.tensor([1.0])) for _ in range(2))
    settings = {"lr": 0.1, "betas": (0.9, 0.999), "eps": 1.0, "weight_decay": 0.0}
    optimizer = Adam(**settings).build([ours])
    scaler = torch.amp.grad_scaler.GradScaler("cpu", init_scale=1024.0)
    scaler.scale(3 * ours.sum()).backward()
    scaler.unscale_(optimizer)
    # Lightning refuses to clip for an optimizer that would unscale in its step.
    MixedPrecision("bf16-mixed", "cpu").clip_gradients(
        optimizer, clip_val=0.5, gradient_clip_algorithm=GradClipAlgorithmType.VALUE
    )
    scaler.step(optimizer)
    expected = parameter_after(torch.optim.Adam([plain], **settings), plain, [0.5])
    assert ours.item() == pytest.approx(expected)


def test_the_settings_reach_adam():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Adam(lr=0.1, betas=(0.5, 0.8), eps=0.25, weight_decay=0.5).build([parameter])
    # Gradient with decay 0.5 + 0.5 * 1, means after correction 1 and 1: 0.1 * 1 / (1 + 0.25).
    assert parameter_after(optimizer, parameter, [0.5]) == pytest.approx(1 - 0.08)
    assert optimizer.param_groups[0]["betas"] == (0.5, 0.8)


def test_momentum_and_weight_decay_reach_sgd():
    parameter = torch.nn.Parameter(torch.tensor([1.0]))
    optimizer = Sgd(lr=0.1, momentum=0.5, weight_decay=1.0).build([parameter])
    # First 2 + 1 = 3 (to 0.7), then 0 + 0.7 + 0.5 * 3 = 2.2.
    assert parameter_after(optimizer, parameter, [2.0, 0.0]) == pytest.approx(1 - 0.3 - 0.22)
