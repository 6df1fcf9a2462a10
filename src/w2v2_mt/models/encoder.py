"""The transformer over projected frames: one stack of layers, or a shared one with branches."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from w2v2_mt.core.padding import is_known_unpadded, padding_mask
from w2v2_mt.models.packing import Packing
from w2v2_mt.models.shapes import Frames, Lengths, PackedFrames
from w2v2_mt.models.upstream_kinds import UpstreamKind


class ClassToken(nn.Module):
    """A vector, initially ones, that precedes the frames of each utterance."""

    def __init__(self, dim: int, *, learnable: bool):
        super().__init__()
        if learnable:
            self.vector = nn.Parameter(torch.ones(dim))
        else:
            self.register_buffer("vector", torch.ones(dim))

    def forward(
        self, frames: Frames, num_frames: Lengths
    ) -> tuple[Float[Tensor, "batch time+1 dim"], Lengths]:
        """Return the longer sequences and their lengths."""
        token = self.vector.to(frames.dtype).expand(frames.shape[0], 1, -1)
        return torch.cat([token, frames], dim=1), num_frames + 1

    def pack(
        self, frames: PackedFrames, packing: Packing
    ) -> tuple[Float[Tensor, "1 longer_total dim"], Packing]:
        """Return the same for packed frames."""
        longer = Packing(tuple(length + 1 for length in packing.lengths))
        return packing.prepend(self.vector.to(frames.dtype), frames), longer


LayerRun: TypeAlias = Callable[[nn.Module, Frames], Frames]
"""A function that runs one layer on padded or packed frames."""


class TransformerStack(nn.Module):
    """Transformer layers and, for pre-norm models, the norm after the last."""

    def __init__(self, upstream: Any, kind: UpstreamKind, *, recompute: bool):
        super().__init__()
        self.layers = upstream.encoder.layers
        is_pre_norm = kind.is_pre_norm(upstream.config)
        self.final_norm = upstream.encoder.layer_norm if is_pre_norm else nn.Identity()
        self.layer_drop = upstream.config.layerdrop
        self.recompute = recompute

    def forward(self, frames: Frames, run_layer: LayerRun, *, keep_all: bool) -> list[Frames]:
        """Return the output of each layer or, unless `keep_all`, of the last one.

        A dropped layer returns its input. The last output is normalized in a pre-norm model.
        """
        if self.recompute and torch.is_grad_enabled():
            run_layer = partial(checkpoint, run_layer, use_reentrant=False)
        drops_layers = self.training and self.layer_drop > 0
        outputs: list[Tensor] = []
        for layer in self.layers:
            # Drawn on the host, as a value on the device cannot decide whether a layer is launched.
            if not (drops_layers and torch.rand(()).item() < self.layer_drop):
                frames = run_layer(layer, frames)
            outputs = [*outputs, frames] if keep_all else [frames]
        return [*outputs[:-1], self.final_norm(frames)] if outputs else []


class Encoder(nn.Module):
    """Class token, positional convolution and transformer layers.

    Without branches every task reads the output of the one stack. `branch` gives tasks layers of
    their own. The modules are those of the pretrained model; with `recompute` each layer is
    computed again in the backward pass.
    """

    def __init__(
        self, upstream: Any, kind: UpstreamKind, *, class_token: ClassToken | None, recompute: bool
    ):
        super().__init__()
        pretrained = upstream.encoder
        self.kind = kind
        self.class_token = class_token
        self.positional_convolution = pretrained.pos_conv_embed
        self.relative_positions = kind.take_relative_positions(upstream)
        is_pre_norm = kind.is_pre_norm(upstream.config)
        self.input_norm = nn.Identity() if is_pre_norm else pretrained.layer_norm
        self.dropout = pretrained.dropout
        self.shared = TransformerStack(upstream, kind, recompute=recompute)
        self.branches = nn.ModuleDict()

    def branch(self, tasks: Sequence[str], *, num_shared_layers: int) -> None:
        """Give each task a copy, initially equal, of the layers after the first ones."""
        assert not self.branches
        layers = self.shared.layers
        self.shared.layers = layers[num_shared_layers:]
        self.branches.update({task: copy.deepcopy(self.shared) for task in tasks})
        self.shared.layers = layers[:num_shared_layers]
        self.shared.final_norm = nn.Identity()

    def compile_layers(self) -> None:
        """Compile each transformer layer, once for batches of any size and length.

        Layers that are dropped or computed again in the backward pass stay so, as both are decided
        outside of a layer. Weights and their names do not change.
        """
        stacks: list[Any] = [self.shared, *self.branches.values()]
        for stack in stacks:
            for layer in stack.layers:
                layer.compile(dynamic=True)

    def forward(
        self,
        frames: Frames,
        num_frames: Lengths,
        *,
        tasks: Sequence[str],
        keep_all: bool,
        detached: Collection[str] = (),
    ) -> tuple[dict[str, list[Float[Tensor, "batch out_time dim"]]], Lengths]:
        """Run the layers of these tasks; branches of the `detached` ones keep no graph.

        Returns:
            For each task the output of its last layer or, with `keep_all`, the input of the first
            layer and the output of every layer; and the number of valid frames with class token.
        """
        if self.class_token is not None:
            frames, num_frames = self.class_token(frames, num_frames)
        batch, time, _ = frames.shape
        is_valid = attended = bias = None
        if not is_known_unpadded(num_frames, time):
            is_valid = padding_mask(num_frames, time)
            # The positional convolution pads a single utterance with zeros.
            frames = frames.masked_fill(~is_valid[:, :, None], 0)
            # A row without any frame attends to one of its zeros: a softmax over nothing is NaN.
            attended = padding_mask(num_frames.clamp(min=1), time)
        if self.relative_positions is not None:
            bias = self.relative_positions(time).repeat(batch, 1, 1)
        frames = frames + self.kind.embed_positions(self.positional_convolution, frames, is_valid)

        def run_layer(layer: nn.Module, frames: Frames) -> Frames:
            return self.kind.run_layer(layer, frames, attended, bias)

        frames = self.dropout(self.input_norm(frames))
        shared = [frames, *self.shared(frames, run_layer, keep_all=keep_all)]
        outputs = {
            task: self._run_branch(task, shared, run_layer, keep_all=keep_all, detached=detached)
            for task in tasks
        }
        return outputs, num_frames

    def run_packed(
        self,
        frames: PackedFrames,
        packing: Packing,
        *,
        tasks: Sequence[str],
        keep_all: bool,
        detached: Collection[str] = (),
        rows: Mapping[str, Sequence[int]],
    ) -> tuple[dict[str, list[Float[Tensor, "1 _total dim"]]], dict[str, Packing]]:
        """Return the same for packed frames: packed outputs and their packing, by task.

        `rows` are the utterances of a task, all without an entry; its branch runs on these only.
        """
        if self.class_token is not None:
            frames, packing = self.class_token.pack(frames, packing)
        bias = None
        if self.relative_positions is not None:
            bias = self.relative_positions(packing.longest)

        def embed_positions(utterances: Frames) -> Frames:
            return self.kind.embed_positions(self.positional_convolution, utterances, None)

        def run_layer(packing: Packing, layer: nn.Module, frames: Frames) -> Frames:
            return self.kind.run_packed_layer(layer, frames, packing, bias)

        with parametrize.cached():  # Weight norm is computed once for all runs.
            frames = frames + packing.map(embed_positions, frames)
        frames = self.dropout(self.input_norm(frames))
        shared = [frames, *self.shared(frames, partial(run_layer, packing), keep_all=keep_all)]
        outputs, packings = {}, {}
        for task in tasks:
            layers, packings[task] = shared if keep_all else shared[-1:], packing
            if task in rows:
                layers = [packing.select(each, rows[task]) for each in layers]
                packings[task] = packing.rows(rows[task])
            run_own_layer = partial(run_layer, packings[task])
            outputs[task] = self._run_branch(
                task, layers, run_own_layer, keep_all=keep_all, detached=detached
            )
        return outputs, packings

    def _run_branch(
        self,
        task: str,
        shared: list[Frames],
        run_layer: LayerRun,
        *,
        keep_all: bool,
        detached: Collection[str],
    ) -> list[Frames]:
        """Return the outputs of the shared layers and of the branch of a task, if there is one."""
        of_layers = shared
        if self.branches:
            branch = self.branches[task]
            with torch.set_grad_enabled(torch.is_grad_enabled() and task not in detached):
                of_layers = [*shared, *branch(shared[-1], run_layer, keep_all=keep_all)]
        return of_layers if keep_all else of_layers[-1:]
