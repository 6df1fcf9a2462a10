"""Precisions that a device has, and predictions in each."""

import copy

import pytest
import torch

from tests.helpers.small_networks import save_architecture, small_multi_task_network
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.inference.precision import compute_in, resolve_inference_precision, set_precision

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def give_cpu(monkeypatch, *features: str) -> None:
    capabilities = dict.fromkeys(features, True) | {"avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)


@pytest.mark.parametrize(
    ("precision", "features", "resolved"),
    [
        ("auto", ["avx512_bf16"], "bf16-mixed"),
        ("auto", ["avx512_vnni"], "32-true"),
        ("32-true", ["avx512_bf16"], "32-true"),
        ("bf16-mixed", ["amx_bf16"], "bf16-mixed"),
        ("int8-mixed", ["avx512_vnni"], "int8-mixed"),
        ("int8-mixed", ["avx_vnni"], "int8-mixed"),
    ],
)
def test_a_precision_of_the_cpu_is_used(monkeypatch, precision, features, resolved):
    give_cpu(monkeypatch, *features)
    assert resolve_inference_precision(precision, CPU) == resolved


@pytest.mark.parametrize(
    ("precision", "features", "sentence"),
    [
        ("bf16-mixed", ["avx512_vnni"], "bf16-mixed needs a device that computes in bf16"),
        ("int8-mixed", ["avx512_bf16"], "int8-mixed needs a CPU with AVX-512 VNNI, AVX VNNI or"),
    ],
)
def test_a_precision_that_the_cpu_emulates_is_refused(monkeypatch, precision, features, sentence):
    give_cpu(monkeypatch, *features)
    with pytest.raises(ValueError, match=f"^--precision {sentence}.*Use --precision auto.$"):
        resolve_inference_precision(precision, CPU)


def test_int8_is_refused_on_a_gpu(monkeypatch):
    give_cpu(monkeypatch, "avx512_vnni")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    with pytest.raises(ValueError, match="on a CPU only, but this machine has a GPU"):
        resolve_inference_precision("int8-mixed", GPU)
    assert resolve_inference_precision("auto", GPU) == "bf16-mixed"


@pytest.mark.parametrize("features", [["avx512_vnni"], ["avx512_vnni", "avx512_bf16"]])
@pytest.mark.parametrize("precision", ["bf16-mixed", "int8-mixed"])
def test_scores_are_near_those_of_float32(monkeypatch, tmp_path, precision, features):
    give_cpu(monkeypatch, *features)
    torch.manual_seed(0)
    network = small_multi_task_network(save_architecture(str(tmp_path), "base")).eval()
    changed = copy.deepcopy(network)
    set_precision(changed, precision)
    waveforms, num_samples = torch.randn(4, 8_000), torch.tensor([8_000, 8_000, 5_000, 3_000])
    with torch.inference_mode():
        expected = network.answer(waveforms, num_samples)
        with compute_in(precision, CPU):
            computed = changed.answer(waveforms, num_samples)
    embeddings, others = computed["speaker"].embeddings.float(), expected["speaker"].embeddings
    assert not torch.equal(embeddings, others)
    assert torch.cosine_similarity(embeddings, others).min() > 0.998
    logits, others = computed["speech"].logits, expected["speech"].logits
    assert logits.dtype == torch.float32
    is_valid = padding_mask(computed["speech"].num_frames, logits.shape[1])
    assert (logits - others)[is_valid].abs().max() < 0.1 * others.std()
