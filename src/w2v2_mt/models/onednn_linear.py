"""The linear layers of a transformer, as fast as the CPU allows.

torch multiplies matrices of 32 bits with MKL, which uses half the width of the vector units of an
AVX-512 CPU that is not Intel's: there oneDNN is twice as fast, forward and backward.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

MIN_NUM_FEATURES = 512
"""On narrower layers the way in and out of oneDNN costs what it saves."""


class OneDnnLinear(nn.Linear):
    """`nn.Linear` through oneDNN where that can be: in float32, outside of autocast, on a CPU.

    A graph for ONNX or of a compiler has the plain operation.
    """

    def forward(self, frames: Float[Tensor, "*batch in_dim"]) -> Float[Tensor, "*batch out_dim"]:
        """Apply the linear layer, by oneDNN where that is faster."""
        if (
            frames.device.type == "cpu"
            and frames.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
            and torch.backends.mkldnn.is_available()
            and not torch.onnx.is_in_onnx_export()
            and not torch.compiler.is_compiling()
        ):
            return _LinearFunction.apply(frames, self.weight, self.bias)
        return super().forward(frames)


def use_onednn(module: nn.Module) -> None:
    """Turn the wide linear layers inside into `OneDnnLinear`; parameters and names stay."""
    for layer in module.modules():
        if type(layer) is nn.Linear and min(layer.weight.shape) >= MIN_NUM_FEATURES:
            layer.__class__ = OneDnnLinear


class _LinearFunction(torch.autograd.Function):
    """frames @ weight^T + bias; autograd's own way through oneDNN would keep copies of both."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Multiply in oneDNN and save what the backward pass needs."""
        ctx.save_for_backward(frames, weight)
        return _product(frames, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        frames, weight = ctx.saved_tensors
        of_frames, of_weight, of_bias = ctx.needs_input_grad
        rows = gradient.flatten(end_dim=-2)  # [batch * time, out_dim]
        return (
            _product(gradient, weight.T) if of_frames else None,
            _product(rows.T, frames.flatten(end_dim=-2).T) if of_weight else None,
            rows.sum(dim=0) if of_bias else None,
        )


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(rows.to_mkldnn(), weight, bias).to_dense()
