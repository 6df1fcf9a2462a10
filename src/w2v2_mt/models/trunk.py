"""The pretrained part of a network that all tasks share: backbone and encoder."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from w2v2_mt.core.padding import padding_mask
from w2v2_mt.models.backbone import Backbone
from w2v2_mt.models.encoder import Encoder
from w2v2_mt.models.regularisation import SpecAugment
from w2v2_mt.models.shapes import Frames, LayerFrames, Lengths, Rows, Waveforms
from w2v2_mt.models.sharing import NetworkShape, SharingWay


class FramePermutation(nn.Module):
    """Shuffles the valid frames of each utterance, to measure what their order is worth.

    In training every utterance has an order of its own. In eval mode the order depends only on the
    number of frames, so that an utterance has one output, whatever it is batched with. Padding and
    the first `num_class_tokens` frames keep their places.
    """

    def __init__(self, *, num_class_tokens: int):
        super().__init__()
        self.num_class_tokens = num_class_tokens

    def forward(self, frames: Frames, num_frames: Lengths) -> Frames:
        """Return the frames in another order; `num_frames` includes the class token."""
        batch, time, _ = frames.shape
        if self.training:
            ranks = torch.rand(batch, time, device=frames.device)
        else:
            # Drawn one by one, so that the ranks of a longer batch begin with the same numbers.
            rng = Random(0)
            drawn = torch.tensor([rng.random() for _ in range(time)])
            ranks = drawn.to(frames.device).repeat(batch, 1)
        ranks[:, : self.num_class_tokens] = -1
        ranks = ranks.masked_fill(~padding_mask(num_frames, time), 2)
        # Stable, so that padding, which has one rank, keeps its order.
        order = ranks.argsort(dim=1, stable=True)
        return frames.gather(1, order[:, :, None].expand_as(frames))


@dataclass(frozen=True)
class TaskFrames:
    """The frames that the head of a task reads, class token first, and the number of valid ones."""

    frames: LayerFrames
    num_frames: Lengths

    def select(self, rows: Rows | None) -> "TaskFrames":
        """Return those of these utterances; None means all."""
        if rows is None:
            return self
        rows = rows.to(self.frames.device)
        return TaskFrames(self.frames.index_select(-3, rows), self.num_frames[rows])


class Trunk(nn.Module):
    """A module that turns waveforms into one sequence of frames per task.

    A frozen trunk runs without gradient and in eval mode. Its parameters keep `requires_grad`, so
    that a wrapper that reads it once, such as DDP, includes them when they are unfrozen. Modules
    that ways of sharing add for single tasks are trained in any case.

    `architecture` is the config of the pretrained model as transformers writes it in a
    `config.json`, with which a checkpoint is loaded without that model. `permutation` shuffles the
    frames that enter the encoder. Each of `ways` has changed the encoder already. With
    `pack_frames`, nothing is computed for padding.
    """

    def __init__(
        self,
        *,
        architecture: Mapping[str, Any],
        backbone: Backbone,
        spec_augment: SpecAugment,
        encoder: Encoder,
        ways: Sequence[SharingWay],
        shape: NetworkShape,
        num_frozen_steps: float,
        permutation: FramePermutation | None,
        pack_frames: bool = False,
    ):
        super().__init__()
        self.pack_frames = pack_frames
        self.architecture = dict(architecture)
        self.backbone = backbone
        self.spec_augment = spec_augment
        self.permutation = permutation
        self.encoder = encoder
        self.ways = tuple(ways)
        self.shape = shape
        self._task_modules: dict[tuple[str, str], nn.Module] = {}
        shapes = dict.fromkeys(shape.tasks, shape)
        for way in ways:
            modules = {task: way.build_module(task, shapes[task]) for task in shape.tasks}
            # The next way reads frames of the width that this one leaves to each task.
            shapes = {
                task: replace(each, dim=way.head_dim(task, each.dim))
                for task, each in shapes.items()
            }
            if trained := {task: module for task, module in modules.items() if module is not None}:
                self.add_module(way.name, nn.ModuleDict(trained))
                self._task_modules |= {(way.name, task): trained[task] for task in trained}
        self.head_dims = {task: each.dim for task, each in shapes.items()}
        self.num_frozen_steps = num_frozen_steps
        self.is_frozen = num_frozen_steps > 0
        self.train()

    @property
    def num_class_tokens(self) -> int:
        """Return the number of frames that precede those of the waveform, 0 or 1."""
        return 0 if self.encoder.class_token is None else 1

    def task_module(self, way: SharingWay, task: str) -> Any:
        """Return the module that a way of sharing added for a task, or None."""
        return self._task_modules.get((way.name, task))

    def task_parameters(self) -> set[nn.Parameter]:
        """Return the parameters of single tasks: branches, and modules of ways of sharing."""
        parts = [self.encoder.branches, *self._task_modules.values()]
        return {parameter for part in parts for parameter in part.parameters()}

    def update_freezing(self, *, step: int) -> None:
        """Freeze or unfreeze for the optimizer step with this number, the first being 0."""
        if self.is_frozen != (step < self.num_frozen_steps):
            self.is_frozen = not self.is_frozen
            self.train(self.training)

    def train(self, mode: bool = True) -> "Trunk":
        """Set the mode of the trunk; a frozen one keeps its pretrained parts in eval mode."""
        super().train(mode)
        if self.is_frozen:
            for part in (self.backbone, self.spec_augment, self.encoder):
                part.eval()
        return self

    def forward(
        self, waveforms: Waveforms, num_samples: Lengths, *, tasks: Sequence[str]
    ) -> tuple[dict[str, LayerFrames], Lengths]:
        """Return the frames of each task, class token first, and the number of valid ones."""
        encoded = self.encode(waveforms, num_samples, tasks=tasks)
        num_frames = self.backbone.num_frames(num_samples) + self.num_class_tokens
        return {task: encoded[task].frames for task in tasks}, num_frames

    def encode(
        self,
        waveforms: Waveforms,
        num_samples: Lengths,
        *,
        tasks: Sequence[str],
        rows: Mapping[str, Rows | None] | None = None,
        known_lengths: Sequence[int] | None = None,
        without_gradient: Collection[str] = (),
        all_layers: Collection[str] = (),
    ) -> dict[str, TaskFrames]:
        """Return the frames of each task.

        Args:
            waveforms: The waveforms of all utterances.
            num_samples: Their lengths.
            tasks: The tasks that have frames.
            rows: The utterances of a task; None or no entry means all.
            known_lengths: `num_samples` on the host; None if packing may wait for the device.
            without_gradient: The tasks that keep no graph.
            all_layers: The tasks that get the input of the first layer and the output of each,
                stacked as the first dimension.
        """
        merging = next((way for way in self.ways if way.merges_layers), None)
        options: dict[str, Any] = {
            "tasks": tasks,
            "keep_all": merging is not None or any(task in all_layers for task in tasks),
            "detached": without_gradient,
        }
        own_rows = {task: each for task, each in (rows or {}).items() if each is not None}
        selected: dict[str, list[int]] = {}
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            lengths = self._lengths_to_pack(num_samples, known_lengths)
            if lengths is None:
                outputs, num_frames = self._run_padded(waveforms, num_samples, options)
            else:
                # Rows on a device would have to be waited for.
                known = {task: each for task, each in own_rows.items() if each.is_cpu}
                selected = {task: each.tolist() for task, each in known.items()}
                options["rows"] = selected
                outputs, num_frames = self._run_packed(waveforms, num_samples, lengths, options)
        encoded = {}
        for task in tasks:
            with torch.set_grad_enabled(torch.is_grad_enabled() and task not in without_gradient):
                if task in all_layers:
                    frames = torch.stack(outputs[task])
                elif merging is not None:
                    frames = merging.merge_layers(outputs[task], self.task_module(merging, task))
                else:
                    frames = outputs[task][-1]
                own = own_rows.get(task)
                if task in selected:
                    encoded[task] = TaskFrames(frames, num_frames[own])
                else:
                    encoded[task] = TaskFrames(frames, num_frames).select(own)
        return encoded

    def _lengths_to_pack(
        self, num_samples: Lengths, known_lengths: Sequence[int] | None
    ) -> Sequence[int] | None:
        """Return the lengths of waveforms whose frames are to be packed; None if padded."""
        if not self.pack_frames or torch.onnx.is_in_onnx_export():
            return None
        lengths = num_samples.tolist() if known_lengths is None else known_lengths
        return lengths if any(map(self.backbone.num_frames, lengths)) else None

    def _run_padded(
        self, waveforms: Waveforms, num_samples: Lengths, options: dict[str, Any]
    ) -> tuple[dict[str, list[Float[Tensor, "batch _time dim"]]], Lengths]:
        frames, num_frames = self.backbone(waveforms, num_samples)
        frames = self.spec_augment(frames, num_frames)
        if self.permutation is not None:
            frames = self.permutation(frames, num_frames)
        return self.encoder(frames, num_frames, **options)

    def _run_packed(
        self,
        waveforms: Waveforms,
        num_samples: Lengths,
        lengths: Sequence[int],
        options: dict[str, Any],
    ) -> tuple[dict[str, list[Float[Tensor, "_rows _time dim"]]], Lengths]:
        frames, packing = self.backbone.pack(waveforms, lengths)
        num_frames = self.backbone.num_frames(num_samples)
        frames = self.spec_augment(frames, num_frames, packing)
        if self.permutation is not None:
            frames = packing.pack(self.permutation(packing.unpack(frames), num_frames))
        outputs, packings = self.encoder.run_packed(frames, packing, **options)
        padded = {
            task: [packings[task].unpack(frames) for frames in layers]
            for task, layers in outputs.items()
        }
        return padded, num_frames + self.num_class_tokens
