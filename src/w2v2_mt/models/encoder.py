"""The transformer over projected frames: one stack for all tasks, or a shared one with branches."""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import Wav2Vec2Model

from w2v2_mt.core.padding import is_known_unpadded, real_mask


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
        token = self.vector.to(frames.dtype).expand(len(frames), 1, -1)
        return torch.cat([token, frames], dim=1), num_frames + 1


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
        self,
        frames: Float[Tensor, "batch time dim"],
        attention_mask: Bool[Tensor, "batch 1 1 time"] | None,
    ) -> Float[Tensor, "batch time dim"]:
        for layer in self.layers:
            # Drawn on the host: whether to launch a layer cannot depend on a value on the device.
            if self.training and self.layer_drop > 0 and torch.rand(()).item() < self.layer_drop:
                continue
            if self.use_gradient_checkpointing and torch.is_grad_enabled():
                frames = checkpoint(layer, frames, attention_mask, use_reentrant=False)
            else:
                frames = layer(frames, attention_mask)
        return self.final_norm(frames)


class Encoder(nn.Module):
    """Class token, positional convolution and transformer layers of a wav2vec2.

    Without branches every task reads the output of the one stack. With branches, the first
    `num_shared_layers` layers are shared and each branch owns a copy of the rest, alike at first.

    Args:
        wav2vec2: where the modules come from.
        class_token: put before the frames, or None.
        branch_names: the tasks that get layers of their own; empty for a plain encoder.
        num_shared_layers: how many layers all branches share; read only when there are branches.

    Raises:
        ValueError: `num_shared_layers` leaves no layer for the branches.
    """

    def __init__(
        self,
        wav2vec2: Wav2Vec2Model,
        *,
        class_token: ClassToken | None,
        branch_names: Sequence[str],
        num_shared_layers: int,
        use_gradient_checkpointing: bool,
    ):
        super().__init__()
        config, pretrained = wav2vec2.config, wav2vec2.encoder
        num_layers = len(pretrained.layers)
        if branch_names and not 0 <= num_shared_layers < num_layers:
            raise ValueError(
                f"network.num_shared_transformers={num_shared_layers} leaves no layer for the "
                f"branches of an encoder with {num_layers} layers; choose 0 to {num_layers - 1}."
            )
        pre_norm = config.do_stable_layer_norm
        self.class_token = class_token
        self.positional_convolution = pretrained.pos_conv_embed
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
    ) -> tuple[dict[str, Float[Tensor, "batch out_time dim"]], Int[Tensor, " batch"]]:
        """The output for each of `tasks`, and how many frames are real, the class token included.

        Only the branches of `tasks` are run.
        """
        if self.class_token is not None:
            frames, num_frames = self.class_token(frames, num_frames)
        attention_mask = None
        if not is_known_unpadded(num_frames, frames.shape[1]):
            # The positional convolution must see what it sees behind the end of a lone utterance.
            frames = frames.masked_fill(~real_mask(num_frames, frames.shape[1])[:, :, None], 0)
            # A row without any frame attends to one of its zeros: a softmax over nothing is NaN.
            attention_mask = real_mask(num_frames.clamp(min=1), frames.shape[1])[:, None, None, :]

        frames = frames + self.positional_convolution(frames)
        frames = self.dropout(self.input_norm(frames))
        shared = self.shared(frames, attention_mask)
        outputs = {
            task: self.branches[task](shared, attention_mask) if self.branches else shared
            for task in tasks
        }
        return outputs, num_frames
