"""The transformer over projected frames: one stack for all tasks, or a shared one with branches."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from w2v2_mt.core.padding import is_known_unpadded, real_mask
from w2v2_mt.models.positions import convolved_positions, take_relative_positions
from w2v2_mt.models.upstream import Upstream, is_pre_norm


class ClassToken(nn.Module):
    """One vector, all ones at first, put before the frames of each utterance."""

    def __init__(self, dim: int, *, learnable: bool):
        super().__init__()
        ones = torch.ones(dim)
        if learnable:
            self.vector = nn.Parameter(ones)
        else:
            self.register_buffer("vector", ones)

    def forward(
        self, frames: Float[Tensor, "batch time dim"], num_frames: Int[Tensor, " batch"]
    ) -> tuple[Float[Tensor, "batch time+1 dim"], Int[Tensor, " batch"]]:
        token = self.vector.to(frames.dtype).expand(frames.shape[0], 1, -1)
        return torch.cat([token, frames], dim=1), num_frames + 1


@dataclass(frozen=True, kw_only=True)
class AttentionContext:
    """What each layer must know besides its frames.

    Args:
        is_real: the frames that may be attended to; None: all.
        position_bias: what WavLM adds to the attention of each head, for each utterance.
    """

    is_real: Bool[Tensor, "batch time"] | None
    position_bias: Float[Tensor, "batch_heads time time"] | None


class TransformerStack(nn.Module):
    """Transformer layers one after another and, for pre-norm models, the norm behind the last."""

    def __init__(
        self,
        layers: nn.ModuleList,
        *,
        final_norm: nn.Module,
        layer_drop: float,
        use_gradient_checkpointing: bool,
    ):
        super().__init__()
        self.layers = layers
        self.final_norm = final_norm
        self.layer_drop = layer_drop
        self.use_gradient_checkpointing = use_gradient_checkpointing

    def forward(
        self, frames: Float[Tensor, "batch time dim"], context: AttentionContext, *, keep_all: bool
    ) -> list[Float[Tensor, "batch time dim"]]:
        """The output of each layer or, unless `keep_all`, of the last alone; empty without layers.

        A dropped layer gives what it got. The last output is the normalised one.
        """
        outputs: list[Tensor] = []
        for layer in self.layers:
            # Drawn on the host: whether to launch a layer cannot depend on a value on the device.
            if self.training and self.layer_drop > 0 and torch.rand(()).item() < self.layer_drop:
                pass
            elif self.use_gradient_checkpointing and torch.is_grad_enabled():
                frames = checkpoint(_layer_output, layer, frames, context, use_reentrant=False)
            else:
                frames = _layer_output(layer, frames, context)
            outputs = [*outputs, frames] if keep_all else [frames]
        return [*outputs[:-1], self.final_norm(frames)] if outputs else []


def _layer_output(
    layer: nn.Module, frames: Float[Tensor, "batch time dim"], context: AttentionContext
) -> Float[Tensor, "batch time dim"]:
    is_real = context.is_real
    if context.position_bias is not None:
        bias = context.position_bias
        return layer(frames, attention_mask=is_real, position_bias=bias)[0]
    return layer(frames, None if is_real is None else is_real[:, None, None, :])


class Encoder(nn.Module):
    """Class token, positional convolution and transformer layers.

    Without branches every task reads the output of the one stack. With branches, the first
    `num_shared_layers` layers are shared and each branch owns a copy of the rest, alike at first.

    Args:
        upstream: where the modules come from.
        class_token: put before the frames, or None.
        branch_names: the tasks that get layers of their own; empty for a plain encoder.
        num_shared_layers: how many layers all branches share, less than all; read only when there
            are branches.
    """

    def __init__(
        self,
        upstream: Upstream,
        *,
        class_token: ClassToken | None,
        branch_names: Sequence[str],
        num_shared_layers: int,
        use_gradient_checkpointing: bool,
    ):
        super().__init__()
        config, pretrained = upstream.config, upstream.encoder
        num_layers = len(pretrained.layers)
        assert not branch_names or 0 <= num_shared_layers < num_layers
        pre_norm = is_pre_norm(config)
        self.class_token = class_token
        self.positional_convolution = pretrained.pos_conv_embed
        self.relative_positions = take_relative_positions(upstream)
        self.input_norm = nn.Identity() if pre_norm else pretrained.layer_norm
        self.dropout = pretrained.dropout

        def stack(layers: nn.ModuleList, *, is_last: bool) -> TransformerStack:
            return TransformerStack(
                layers,
                final_norm=pretrained.layer_norm if pre_norm and is_last else nn.Identity(),
                layer_drop=config.layerdrop,
                use_gradient_checkpointing=use_gradient_checkpointing,
            )

        num_shared_layers = num_shared_layers if branch_names else num_layers
        self.shared = stack(pretrained.layers[:num_shared_layers], is_last=not branch_names)
        self.branches = nn.ModuleDict(
            {
                name: copy.deepcopy(stack(pretrained.layers[num_shared_layers:], is_last=True))
                for name in branch_names
            }
        )

    @property
    def num_class_tokens(self) -> int:
        return 0 if self.class_token is None else 1

    def forward(
        self,
        frames: Float[Tensor, "batch time dim"],
        num_frames: Int[Tensor, " batch"],
        *,
        tasks: Sequence[str],
        keep_all: bool,
        without_gradient: Sequence[str] = (),
    ) -> tuple[dict[str, list[Float[Tensor, "batch out_time dim"]]], Int[Tensor, " batch"]]:
        """For each of `tasks` the output of its last layer or, with `keep_all`, the input of the
        first layer and the output of every layer; and how many frames are real, the class token
        included.

        Only the branches of `tasks` are run, those of `without_gradient` without keeping a graph.
        """
        if self.class_token is not None:
            frames, num_frames = self.class_token(frames, num_frames)
        is_real = None
        if not is_known_unpadded(num_frames, frames.shape[1]):
            is_real = real_mask(num_frames, frames.shape[1])
            # The positional convolution must see what it sees behind the end of a lone utterance.
            frames = frames.masked_fill(~is_real[:, :, None], 0)

        frames = frames + convolved_positions(self.positional_convolution, frames, is_real)
        frames = self.dropout(self.input_norm(frames))
        context = self._context(frames, num_frames, has_padding=is_real is not None)
        shared = [frames, *self.shared(frames, context, keep_all=keep_all)]
        outputs = {}
        for task in tasks:
            gradient = torch.is_grad_enabled() and task not in without_gradient
            with torch.set_grad_enabled(gradient):
                branch = (
                    self.branches[task](shared[-1], context, keep_all=keep_all)
                    if self.branches
                    else []
                )
            outputs[task] = [*shared, *branch]
        if not keep_all:
            outputs = {task: of_layers[-1:] for task, of_layers in outputs.items()}
        return outputs, num_frames

    def _context(
        self,
        frames: Float[Tensor, "batch time dim"],
        num_frames: Int[Tensor, " batch"],
        *,
        has_padding: bool,
    ) -> AttentionContext:
        batch, time, _ = frames.shape
        # A row without any frame attends to one of its zeros: a softmax over nothing is NaN.
        is_real = real_mask(num_frames.clamp(min=1), time) if has_padding else None
        position_bias = None
        if self.relative_positions is not None:
            position_bias = self.relative_positions(time).repeat(batch, 1, 1)
        return AttentionContext(is_real=is_real, position_bias=position_bias)
