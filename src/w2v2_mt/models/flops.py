"""Useful floating-point operations (FLOPs) of training steps: what valid frames need.

Counted are the products of frames with the weights of convolutions and linear layers, and the two
products of attention; a multiplication and an addition are two operations. Sums, norms, activations
and poolings, below 1 % of the whole, are not counted. Neither is what a step computes in addition:
on padding, and again because of gradient checkpointing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from typing import Any

import torch
from torch import nn

from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.core.padding import frames_from_samples
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.models.shapes import Lengths


@dataclass(frozen=True, kw_only=True)
class Products:
    """The multiply-adds of an utterance: a polynomial of its number of frames."""

    per_utterance: float = 0.0
    per_frame: float = 0.0
    per_frame_pair: float = 0.0

    def __add__(self, other: "Products") -> "Products":
        return Products(
            per_utterance=self.per_utterance + other.per_utterance,
            per_frame=self.per_frame + other.per_frame,
            per_frame_pair=self.per_frame_pair + other.per_frame_pair,
        )

    def __mul__(self, factor: float) -> "Products":
        return Products(
            per_utterance=factor * self.per_utterance,
            per_frame=factor * self.per_frame,
            per_frame_pair=factor * self.per_frame_pair,
        )

    def count(self, num_frames: Lengths) -> float:
        """Return the multiply-adds of utterances with these numbers of frames."""
        return float(
            self.per_utterance * len(num_frames)
            + self.per_frame * int(num_frames.sum())
            + self.per_frame_pair * int(num_frames.square().sum())
        )


class UsefulFlops:
    """A counter of the useful FLOPs of training steps, forward and backward.

    A frozen part has no backward pass. With layer drop, the count is the expected one.
    """

    def __init__(self, network: TaskNetwork):
        self.network = network
        # They change only when the trunk is unfrozen, and their modules are many.
        self._of_convolutions = cache(self._count_convolutions)
        self._of_encoder = cache(self._count_encoder)
        self._of_head = cache(self._count_head)

    def count_step(self, batches: Sequence[BatchLengths]) -> float:
        """Return the FLOPs of a forward and a backward pass over the batches of a step."""
        return 2 * sum(self._count_batch(batch) for batch in batches)

    def _count_batch(self, batch: BatchLengths) -> float:
        trunk = self.network.trunk
        backbone, is_frozen = trunk.backbone, trunk.is_frozen
        products, num_frames = 0.0, torch.tensor(batch.num_samples)
        for weights, kernel_size, stride in zip(
            self._of_convolutions(is_frozen), backbone.kernel_sizes, backbone.strides, strict=True
        ):
            num_frames = frames_from_samples(
                num_frames, kernel_sizes=[kernel_size], strides=[stride]
            )
            products += weights * int(num_frames.sum())
        num_frames = num_frames + trunk.num_class_tokens
        products += self._of_encoder(tuple(batch.rows), is_frozen).count(num_frames)
        for task, rows in batch.rows.items():
            own = num_frames if rows is None else num_frames[rows]
            products += self._of_head(task, True, is_frozen).count(own)
            for guide in self._guides_of(task):
                is_answered = guide in batch.rows and rows is batch.rows[guide] is None
                if not is_answered:
                    products += self._of_head(guide, False, is_frozen).count(own)
        return products

    def _count_convolutions(self, is_frozen: bool) -> list[float]:
        """Return the multiply-adds of each convolution of the front end for one of its frames."""
        backbone = self.network.trunk.backbone
        is_trained = not (backbone.freeze_convolutions or is_frozen)
        # Waveforms have no gradient.
        return [
            _count_passes(is_trained=is_trained, has_gradient=number > 0)
            * _weights_of_convolutions(layer)
            for number, layer in enumerate(backbone.convolutions)
        ]

    def _count_encoder(self, tasks: tuple[str, ...], is_frozen: bool) -> Products:
        """Return the products of projection, positional convolution and transformer layers."""
        backbone, encoder = self.network.trunk.backbone, self.network.trunk.encoder
        # A norm with weights, or trained convolutions, take a gradient from the projection.
        has_gradient = not backbone.freeze_convolutions or any(
            parameter.dim() == 1
            for name, parameter in backbone.projection.named_parameters()
            if "norm" in name
        )
        passes = _count_passes(is_trained=not is_frozen, has_gradient=has_gradient)
        total = Products(per_frame=_weights_of_linear_layers(backbone.projection)) * passes
        passes = _count_passes(is_trained=not is_frozen, has_gradient=True)
        positions = _weights_of_convolutions(encoder.positional_convolution)
        total += (
            Products(per_frame=positions) + self._count_layers(encoder.shared, is_frozen)
        ) * passes
        guides = [guide for task in tasks for guide in self._guides_of(task)]
        for task in dict.fromkeys([*guides, *tasks]):
            if task in encoder.branches:
                layers = self._count_layers(encoder.branches[task], is_frozen)
                # Nothing that a guide selects has a gradient.
                total += layers * (passes if task in tasks else 1)
        return total

    def _count_layers(self, stack: Any, is_frozen: bool) -> Products:
        trunk = self.network.trunk
        weights = sum(trunk.backbone.kind.count_layer_weights(layer) for layer in stack.layers)
        attention = 2 * trunk.shape.dim * len(stack.layers)
        kept = 1.0 if is_frozen else 1 - stack.layer_drop
        return Products(per_frame=weights, per_frame_pair=attention) * kept

    def _count_head(self, task: str, is_trained: bool, is_frozen: bool) -> Products:
        """Return the products of a head; after its pooling there is one vector per utterance."""
        trunk, head = self.network.trunk, self.network.heads[task]
        total, has_gradient = Products(), not is_frozen
        for module in (*(trunk.task_module(way, task) for way in trunk.ways), head.pooling):
            if module is not None:
                passes = _count_passes(is_trained=is_trained, has_gradient=has_gradient)
                total += Products(per_frame=_weights_of_linear_layers(module)) * passes
                has_gradient = has_gradient or any(True for _ in module.parameters())
        passes = _count_passes(is_trained=is_trained, has_gradient=has_gradient)
        weights = _weights_of_linear_layers(head)
        if head.pooling is None:
            return total + Products(per_frame=weights) * passes
        weights -= _weights_of_linear_layers(head.pooling)
        return total + Products(per_utterance=weights) * passes

    def _guides_of(self, task: str) -> list[str]:
        """Return the tasks whose heads select the frames that this task pools."""
        if self.network.heads[task].pooling is None:
            return []
        guides = [way.guide_of(task) for way in self.network.trunk.ways]
        return [guide for guide in guides if guide is not None]


def _count_passes(*, is_trained: bool, has_gradient: bool) -> int:
    """Return the products with a weight: forward, for its gradient, and for that of its input."""
    return 1 + is_trained * (1 + has_gradient)


def _weights_of_linear_layers(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters() if each.dim() == 2)


def _weights_of_convolutions(module: nn.Module) -> int:
    return sum(
        prod((each.out_channels, each.in_channels // each.groups, *each.kernel_size))
        for each in module.modules()
        if isinstance(each, nn.Conv1d)
    )
