"""Settings of optimizers."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from w2v2_mt.core.constraints import DecayRate, NonNegativeFloat, PositiveFloat, Probability
from w2v2_mt.core.registry import Registry


@dataclass(frozen=True, kw_only=True)
class OptimizerSettings(ABC):
    """The settings of an optimizer.

    Args:
        lr: The peak of the learning-rate schedule.
        weight_decay: The factor of the L2 penalty.
    """

    lr: PositiveFloat
    weight_decay: NonNegativeFloat

    @abstractmethod
    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Return an optimizer of these parameters."""


OPTIMIZERS: Registry[type[OptimizerSettings]] = Registry("optimizer", setting="optim/algo")


@OPTIMIZERS.register("adam")
@dataclass(frozen=True, kw_only=True)
class Adam(OptimizerSettings):
    """The settings of Adam, arXiv 1412.6980."""

    betas: tuple[DecayRate, DecayRate]
    eps: PositiveFloat

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        own = list(parameters)
        # One pass over memory.
        is_fused = all(parameter.device.type in ("cpu", "cuda") for parameter in own)
        optimizer = torch.optim.Adam(own, fused=is_fused, **asdict(self))
        # Lightning does not clip gradients that a fused step of fp16 would unscale itself, so that
        # the GradScaler unscales them, as for other optimizers.
        optimizer._step_supports_amp_scaling = False
        return optimizer


@OPTIMIZERS.register("sgd")
@dataclass(frozen=True, kw_only=True)
class Sgd(OptimizerSettings):
    """The settings of stochastic gradient descent with momentum."""

    momentum: Probability

    def build(self, parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
        return torch.optim.SGD(parameters, **asdict(self))
