"""`benchmarks/gpu.py` on the CPU, with a small network."""

import json
import subprocess
import sys
from importlib import import_module
from unittest.mock import Mock

import pytest
import torch

from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.settings.environment import PROJECT_FOLDER


@pytest.fixture
def benchmark(monkeypatch):
    """Imports a module of the folder of benchmarks."""
    monkeypatch.syspath_prepend(str(PROJECT_FOLDER / "benchmarks"))
    return import_module


def test_a_run_on_the_cpu_writes_a_row_for_each_recipe_and_prints_tables(tmp_path):
    output = tmp_path / "gpu.json"
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--groups", "main", "--output"]
    finished = subprocess.run(
        [*command, str(output)], cwd=PROJECT_FOLDER, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr
    content = json.loads(output.read_text())
    rows = {row["name"]: row for row in content["rows"]}
    assert list(rows) == ["plain recipe", "ours", "ours, gradient checkpointing"]
    plain, *ours = rows.values()
    for row in rows.values():
        assert row["audio_per_sec"] == pytest.approx(3 / row["step_sec"])
        headroom = content["loader"]["audio_per_sec"] / row["audio_per_sec"]
        assert row["loader_headroom"] == pytest.approx(headroom)
        # All train the same network, from the same weights and on the same batches.
        assert row["first_losses"] == pytest.approx(plain["first_losses"], rel=1e-3)
        assert f"| {row['name']} | {1000 * row['step_sec']:.1f} ms | " in finished.stdout
    for row in ours:
        lowest, highest = row["times_as_fast_range"]
        assert lowest <= row["times_as_fast_as_plain"] <= highest


def test_without_time_rows_are_skipped_but_written(tmp_path):
    output = tmp_path / "gpu.json"
    command = [sys.executable, "benchmarks/gpu.py", "--tiny", "--groups", "variants"]
    finished = subprocess.run(
        [*command, "--minutes", "0", "--output", str(output)],
        cwd=PROJECT_FOLDER,
        capture_output=True,
        text=True,
    )
    assert finished.returncode == 0, finished.stderr
    rows = json.loads(output.read_text())["rows"]
    assert len(rows) == 7
    assert {row["skipped"] for row in rows} == {"no time is left"}


def test_a_recipe_that_fails_is_a_row(benchmark, tmp_path, monkeypatch, capsys):
    gpu = benchmark("gpu")
    arguments = ["gpu.py", "--tiny", "--output", str(tmp_path / "gpu.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    bench = gpu.Bench(gpu.parse_arguments())
    monkeypatch.setattr(gpu, "build_step", Mock(side_effect=RuntimeError("out of\nmemory")))
    bench.add_row(gpu.list_recipes("smoke", "fp32")["main"][0])
    (row,) = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert row["failed"] == "RuntimeError: out of memory"
    content = json.loads((tmp_path / "gpu.json").read_text())
    assert "| plain recipe | RuntimeError: out of memory |" in gpu.format_table(content)


def test_the_ctc_loss_that_may_wait_is_that_of_torch(benchmark, monkeypatch):
    gpu_waits = benchmark("gpu_waits")
    modes: list[object] = []
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    torch.manual_seed(0)
    logits = torch.randn(2, 9, 5)
    tokens, num_tokens = torch.tensor([[1, 2, 2], [3, 1, 0]]), torch.tensor([3, 2])

    def loss_and_gradient():
        own = logits.clone().requires_grad_()
        result = CtcLoss(blank_index=0)(own, torch.tensor([9, 7]), tokens, num_tokens)
        (2 * result.loss).backward()
        return result.loss, own.grad

    expected = loss_and_gradient()
    assert not modes
    with gpu_waits.ctc_may_wait():
        torch.testing.assert_close(loss_and_gradient(), expected)
    # Allowed in the forward pass and in the backward pass, and only there.
    assert modes == ["default", 2] * 2
    torch.testing.assert_close(loss_and_gradient(), expected)
    assert len(modes) == 4
