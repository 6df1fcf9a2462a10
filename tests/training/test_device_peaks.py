import pytest
import torch

from w2v2_mt.training.device_peaks import find_peak

CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("name", "precision", "peak"),
    [
        ("NVIDIA H200", "bf16-mixed", 989.4),
        ("NVIDIA H100 80GB HBM3", "16-mixed", 989.4),
        ("NVIDIA H100 PCIe", "bf16-mixed", 756.5),
        ("NVIDIA A100-SXM4-80GB", "bf16-mixed", 312.0),
        ("NVIDIA A100 80GB PCIe", "32-true", 19.5),
        ("NVIDIA A100-PCIE-40GB", "16-mixed", 312.0),
        ("NVIDIA L40S", "bf16-mixed", 362.05),
        ("NVIDIA A10", "bf16-mixed", 125.0),
        ("NVIDIA GeForce RTX 3090", "bf16-mixed", 71.2),
        ("NVIDIA GeForce RTX 4090", "16-mixed", 165.2),
        ("Tesla V100-SXM2-16GB", "16-mixed", 125.0),
        ("Tesla V100-PCIE-32GB", "32-true", 14.0),
        ("Tesla T4", "16-mixed", 65.0),
        # Their tensor cores do not multiply in bf16.
        ("Tesla V100-SXM2-16GB", "bf16-mixed", None),
        ("Tesla T4", "bf16-mixed", None),
        # Others have similar names.
        ("NVIDIA A10G", "bf16-mixed", None),
        ("NVIDIA GeForce RTX 3090 Ti", "bf16-mixed", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", "bf16-mixed", None),
    ],
)
def test_a_peak_is_found_by_the_name_of_the_gpu(monkeypatch, name, precision, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    assert find_peak(CUDA, precision) == peak


def test_float32_through_tf32_has_the_peak_of_tf32(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA A100-SXM4-80GB")
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "high")
    assert find_peak(CUDA, "32-true") == 156.0


def test_a_cpu_has_no_peak():
    assert find_peak(torch.device("cpu"), "32-true") is None
