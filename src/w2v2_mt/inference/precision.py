"""The precision in which a trained network computes."""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from w2v2_mt.models.int8_linear import quantize_linear_layers
from w2v2_mt.models.networks import TaskNetwork
from w2v2_mt.training.trainer import ResolvedPrecision, resolve_precision

Int8 = Literal["int8-mixed"]
InferencePrecision = Literal["auto", "32-true", "bf16-mixed", Int8]
"""`auto` is resolved as in training. With `int8-mixed`, the linear layers of the transformer are in
int8; the heads stay in float32, as their share of the time is small."""
ResolvedInferencePrecision = Literal[ResolvedPrecision, Int8]

_AUTOCAST = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
_HAS_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")


def resolve_inference_precision(
    precision: InferencePrecision, device: torch.device
) -> ResolvedInferencePrecision:
    """Resolve `auto`, and check that the device computes in the precision.

    Raises:
        ValueError: The device has no such instructions, which would be emulated slowly.
    """
    is_cpu = device.type == "cpu"
    best = resolve_precision("auto", on_gpu=not is_cpu)
    if precision == "auto":
        return best
    if precision == "bf16-mixed" and best != "bf16-mixed":
        raise ValueError(
            "--precision bf16-mixed needs a device that computes in bf16, such as a CPU with "
            "AVX-512 BF16 or AMX, which this one does not. Use --precision auto."
        )
    if precision == "int8-mixed" and not is_cpu:
        raise ValueError(
            "--precision int8-mixed computes on a CPU only, but this machine has a GPU. Use "
            "--precision auto, or set CUDA_VISIBLE_DEVICES= to compute on the CPU."
        )
    if precision == "int8-mixed" and not _cpu_has(*_HAS_INT8):
        raise ValueError(
            "--precision int8-mixed needs a CPU with AVX-512 VNNI, AVX VNNI or AMX, which this one "
            "does not have. Use --precision auto."
        )
    return precision


def _cpu_has(*features: str) -> bool:
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in features)


def set_precision(network: TaskNetwork, precision: ResolvedInferencePrecision) -> None:
    """Change the layers of a network that a precision computes in another way, in place."""
    if precision == "int8-mixed":
        quantize_linear_layers(network.trunk.encoder)


def compute_in(
    precision: ResolvedInferencePrecision, device: torch.device
) -> AbstractContextManager[None]:
    """Return a context in which a network computes in a precision.

    What is not in int8 is computed as with `auto`.
    """
    if precision == "int8-mixed":
        precision = resolve_precision("auto", on_gpu=False)
    dtype = _AUTOCAST.get(precision)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)
