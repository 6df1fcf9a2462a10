"""The linear layers of a trained transformer with weights and products in int8.

Weights have a scale for each output value, and inputs one for each frame, computed when they
arrive: the output for an utterance depends neither on its batch nor on padding, as it would with
one scale for a whole tensor. Source: arXiv 2206.01861 (ZeroQuant), token-wise quantization.
"""

from typing import Any

import torch
from jaxtyping import Float, Int8, Int32
from torch import Tensor, nn

MIN_NUM_FEATURES = 32
"""Narrower layers, such as the gates of WavLM, cost next to nothing and stay in float32."""

_LARGEST = 127


class Int8Linear(nn.Module):
    """A linear layer for inference, made of a trained one, with the output in the input's type."""

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, linear: nn.Linear):
        super().__init__()
        weight, scale = _quantize(linear.weight.detach())
        self.register_buffer("weight", weight.to(torch.int8).T)  # [in_dim, out_dim]
        self.register_buffer("scale", scale[:, 0])
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach())

    def forward(self, frames: Float[Tensor, "*batch in_dim"]) -> Float[Tensor, "*batch out_dim"]:
        """Apply the layer; a frame with NaN or infinity stays without a finite value."""
        rows, scale = _quantize(frames.flatten(end_dim=-2))
        products = _Int8Product.apply(rows, self.weight) * scale
        if self.bias is None:
            output = products * self.scale
        else:
            output = torch.addcmul(self.bias, products, self.scale)
        return output.to(frames.dtype).view(*frames.shape[:-1], self.scale.shape[0])


def quantize_linear_layers(module: nn.Module) -> None:
    """Replace the linear layers inside by int8 ones, but for narrow ones."""
    for parent in list(module.modules()):
        for name, layer in parent.named_children():
            if isinstance(layer, nn.Linear) and min(layer.weight.shape) >= MIN_NUM_FEATURES:
                setattr(parent, name, Int8Linear(layer))


def _quantize(
    rows: Float[Tensor, "rows dim"],
) -> tuple[Float[Tensor, "rows dim"], Float[Tensor, "rows 1"]]:
    """Return whole numbers from -127 to 127, and the scale of each row."""
    largest = torch.maximum(-rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True))
    scale = largest.float().clamp(min=torch.finfo(torch.float32).tiny) / _LARGEST
    return (rows / scale).round(), scale


class _Int8Product(torch.autograd.Function):
    """The exact product of whole numbers from -127 to 127, also as a node of an ONNX graph."""

    @staticmethod
    def forward(
        ctx: Any, rows: Float[Tensor, "rows dim"], weight: Int8[Tensor, "dim out_dim"]
    ) -> Int32[Tensor, "rows out_dim"]:
        return torch._int_mm(rows.to(torch.int8), weight)

    @staticmethod
    def symbolic(graph: Any, rows: Any, weight: Any) -> Any:
        """Write the rows as uint8: onnxruntime is ten times as slow if both factors are signed."""
        offset = _LARGEST + 1
        shifted = graph.op("Add", rows, graph.op("Constant", value_t=torch.tensor(float(offset))))
        unsigned = graph.op("Cast", shifted, to_i=torch.onnx.TensorProtoDataType.UINT8)
        zero_point = graph.op("Constant", value_t=torch.tensor(offset, dtype=torch.uint8))
        return graph.op("MatMulInteger", unsigned, weight, zero_point)
