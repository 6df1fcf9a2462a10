"""The peak speed of GPUs in matrix products, against which the speed of training is measured."""

import re
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True)
class Peak:
    """The TFLOP/s of a GPU in products of dense matrices, with sums in float32.

    Args:
        half: In fp16 and, if `has_bf16`, in bf16.
        tf32: In float32 through TF32; None if the GPU has no TF32.
        float32: In float32.
        has_bf16: True if tensor cores multiply in bf16.
    """

    half: float
    tf32: float | None
    float32: float
    has_bf16: bool = True

    def of_precision(self, precision: str, *, allows_tf32: bool) -> float | None:
        """Return the peak in a precision of the Trainer; None if tensor cores do not have it."""
        if precision == "bf16-mixed" and not self.has_bf16:
            return None
        if precision in ("bf16-mixed", "16-mixed"):
            return self.half
        return self.tf32 if allows_tf32 and self.tf32 is not None else self.float32


_HOPPER_SXM = Peak(half=989.4, tf32=494.7, float32=66.9)
_HOPPER_NVL = Peak(half=835.5, tf32=417.5, float32=60.0)
_A100 = Peak(half=312.0, tf32=156.0, float32=19.5)

_PEAKS = {
    r"H200": _HOPPER_SXM,
    r"H200 NVL": _HOPPER_NVL,
    r"H100 80GB HBM3": _HOPPER_SXM,
    r"H100 PCIe": Peak(half=756.5, tf32=378.0, float32=51.2),
    r"H100 NVL": _HOPPER_NVL,
    r"A100([- ]SXM4)?[- ](40|80)GB|A100[- ]PCIE-40GB|A100 80GB PCIe": _A100,
    r"L40S": Peak(half=362.05, tf32=183.0, float32=91.6),
    r"A10": Peak(half=125.0, tf32=62.5, float32=31.2),
    r"GeForce RTX 3090": Peak(half=71.2, tf32=35.6, float32=35.6),
    r"GeForce RTX 4090": Peak(half=165.2, tf32=82.6, float32=82.6),
    r"V100-SXM[23]-(16|32)GB(-LS)?": Peak(half=125.0, tf32=None, float32=15.7, has_bf16=False),
    r"V100-PCIE-(16|32)GB": Peak(half=112.0, tf32=None, float32=14.0, has_bf16=False),
    r"T4": Peak(half=65.0, tf32=None, float32=8.1, has_bf16=False),
}
"""The peaks by a pattern of the name that torch gives a GPU, without `NVIDIA` or `Tesla`.

Source: NVIDIA's data sheets of these products; for the GeForce cards, the white papers of the
architectures GA102 and Ada, whose peak with sums in float32 is half of that with sums in fp16. Of
numbers that the data sheets of Hopper state with sparsity, one half.
"""


def find_peak(device: torch.device, precision: str) -> float | None:
    """Return the peak of a device in TFLOP/s; None for a CPU and for a GPU that is not known."""
    if device.type != "cuda":
        return None
    name = re.sub(r"^(NVIDIA|Tesla)[ -]|^NVIDIA Tesla ", "", torch.cuda.get_device_name(device))
    allows_tf32 = torch.get_float32_matmul_precision() != "highest"
    for pattern, peak in _PEAKS.items():
        if re.fullmatch(pattern, name):
            return peak.of_precision(precision, allows_tf32=allows_tf32)
    return None
