"""Optimisers, with exactly the settings that a config names."""

from collections.abc import Iterable

from torch import nn
from torch.optim import SGD, Adam

from w2v2_mt.core.constraints import DecayRate, NonNegativeFloat, PositiveFloat, Probability


def adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: PositiveFloat,
    betas: list[DecayRate],
    eps: PositiveFloat,
    weight_decay: NonNegativeFloat,
) -> Adam:
    """Adam; `betas` are the decay rates of the mean and of the mean square of the gradient.

    Raises ValueError unless there are two of them, each at least 0 and below 1.
    Source: arXiv 1412.6980.
    """
    if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
        raise ValueError(
            f"betas is {list(betas)}, but Adam takes two numbers, each at least 0 and below 1; use "
            "for example [0.9, 0.999]."
        )
    return Adam(parameters, lr=lr, betas=(betas[0], betas[1]), eps=eps, weight_decay=weight_decay)


def sgd(
    parameters: Iterable[nn.Parameter],
    *,
    lr: PositiveFloat,
    momentum: Probability,
    weight_decay: NonNegativeFloat,
) -> SGD:
    """Stochastic gradient descent."""
    return SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)
