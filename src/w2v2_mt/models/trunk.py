"""The part of a network that comes pretrained and that tasks share: backbone and encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from w2v2_mt.models.backbone import Backbone
from w2v2_mt.models.encoder import Encoder
from w2v2_mt.models.layer_weights import LayerWeights
from w2v2_mt.models.permutation import FramePermutation
from w2v2_mt.models.spec_augment import SpecAugment


@dataclass(frozen=True, kw_only=True)
class FreezeSchedule:
    """When the trunk stands still: for the first `num_frozen_steps` optimiser steps.

    `num_frozen_steps` None means for ever; `initially_frozen` False means never.
    """

    initially_frozen: bool
    num_frozen_steps: int | None

    def is_frozen(self, step: int) -> bool:
        if not self.initially_frozen:
            return False
        return self.num_frozen_steps is None or step < self.num_frozen_steps


class Trunk(nn.Module):
    """Waveforms to one sequence of frames per task.

    While frozen it runs without gradient and in eval mode; its parameters keep `requires_grad`, so
    that a wrapper that looks once, such as DDP, still knows them when they thaw.

    Args:
        architecture: the settings of the model that its parts come from, as transformers writes
            them in a `config.json`; with them a checkpoint can be read without that model.
        layer_weights: for each task, how much each layer counts; empty: only the last one counts.
            They belong to the heads: they are trained while the trunk is frozen, too.
        permutation: shuffles the frames on their way into the encoder; None leaves their order.
    """

    def __init__(
        self,
        *,
        architecture: Mapping[str, Any],
        backbone: Backbone,
        spec_augment: SpecAugment,
        encoder: Encoder,
        layer_weights: Mapping[str, LayerWeights],
        freeze_schedule: FreezeSchedule,
        permutation: FramePermutation | None,
    ):
        super().__init__()
        self.architecture = dict(architecture)
        self.backbone = backbone
        self.spec_augment = spec_augment
        self.permutation = permutation
        self.encoder = encoder
        self.layer_weights = nn.ModuleDict(layer_weights)
        self.freeze_schedule = freeze_schedule
        self.is_frozen = freeze_schedule.is_frozen(0)
        self.train()

    @property
    def out_dim(self) -> int:
        return self.backbone.out_dim

    @property
    def num_class_tokens(self) -> int:
        return self.encoder.num_class_tokens

    def update_freezing(self, *, step: int) -> None:
        """Freeze or thaw for the optimiser step with this number, the first being 0."""
        is_frozen = self.freeze_schedule.is_frozen(step)
        if is_frozen != self.is_frozen:
            self.is_frozen = is_frozen
            self.train(self.training)

    def train(self, mode: bool = True) -> "Trunk":
        super().train(mode)
        if self.is_frozen:
            # Only what it holds: `self.training` keeps what the outside asked for.
            for part in self.children():
                part.eval()
            if self.permutation is not None:
                # It has nothing to keep still, and one order for all would be an order to learn.
                self.permutation.train(mode)
        return self

    def forward(
        self,
        waveforms: Float[Tensor, "batch samples"],
        num_samples: Int[Tensor, " batch"],
        *,
        tasks: Sequence[str],
        without_gradient: Sequence[str] = (),
    ) -> tuple[dict[str, Float[Tensor, "batch time dim"]], Int[Tensor, " batch"]]:
        """Frames for each of `tasks` (class token first, if any) and the number of real ones.

        What is done for the tasks of `without_gradient` alone keeps no graph.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            frames, num_frames = self.backbone(waveforms, num_samples)
            frames = self.spec_augment(frames, num_frames)
            if self.permutation is not None:
                frames = self.permutation(frames, num_frames)
            keep_all = len(self.layer_weights) > 0
            outputs, num_frames = self.encoder(
                frames,
                num_frames,
                tasks=tasks,
                keep_all=keep_all,
                without_gradient=without_gradient,
            )
        if not keep_all:
            return {task: of_layers[-1] for task, of_layers in outputs.items()}, num_frames
        weighted = {}
        for task in tasks:
            gradient = torch.is_grad_enabled() and task not in without_gradient
            with torch.set_grad_enabled(gradient):
                weighted[task] = self.layer_weights[task](outputs[task])
        return weighted, num_frames
