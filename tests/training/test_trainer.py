import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from w2v2_mt.training.callbacks.last_checkpoint import LastCheckpoint
from w2v2_mt.training.trainer import TrainerSettings, check_num_gpus, resolve_precision


class Counting(pl.LightningModule):
    """Fits one weight, and notes after how many steps and batches it was validated."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.num_batches = 0
        self.validated_at: list[tuple[int, int]] = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, batch, batch_idx):
        self.num_batches += 1
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.validated_at.append((self.global_step, self.num_batches))


def small_trainer(folder, callbacks=(), **changes):
    settings = {
        "max_steps": 6,
        "step_limit": None,
        "val_check_interval": 2,
        "accumulate_grad_batches": 1,
        "log_every_n_steps": 1,
        "gradient_clip_val": None,
        "skip_non_finite": False,
        "overfit_batches": None,
        "precision": "32-true",
        "test_precision": None,
        "gpus": 0,
        "devices": None,
        "num_nodes": 1,
        "strategy": "auto",
        "rendezvous_timeout_sec": 600.0,
        "enable_progress_bar": False,
        "progress_interval_sec": 30.0,
        "pack_tasks": False,
        "compile": False,
        "peak_tflops": None,
        "power_watts": None,
    }
    return TrainerSettings(**settings | changes).build(
        folder=folder, loggers=[], callbacks=callbacks, profiler=None
    )


@pytest.mark.parametrize(
    ("changes", "validated_at"),
    [
        ({}, [(2, 2), (4, 4), (6, 6)]),
        ({"accumulate_grad_batches": 3}, [(2, 6), (4, 12), (6, 18)]),
        ({"val_check_interval": 5_000}, [(6, 6)]),
        ({"step_limit": 3}, [(2, 2)]),
        ({"step_limit": 3, "val_check_interval": 5_000}, [(3, 3)]),
        ({"step_limit": 100}, [(2, 2), (4, 4), (6, 6)]),
    ],
)
def test_training_and_validations_are_counted_in_optimizer_steps(tmp_path, changes, validated_at):
    task = Counting()
    train, val = DataLoader(torch.ones(100, 1)), DataLoader(torch.ones(1, 1))  # type: ignore[var-annotated]
    trainer = small_trainer(tmp_path, **changes)
    trainer.fit(task, train_dataloaders=train, val_dataloaders=val)
    assert task.validated_at == validated_at
    assert trainer.global_step == min(6, changes.get("step_limit") or 6)


def test_no_checkpoint_is_written_unless_a_callback_asks_for_it(tmp_path):
    assert small_trainer(tmp_path).checkpoint_callbacks == []
    callback = LastCheckpoint(save_every_minutes=30)
    assert small_trainer(tmp_path, callbacks=[callback]).checkpoint_callbacks == [callback]


def test_more_gpus_than_there_are_is_an_error_that_says_how_many(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match=r"^gpus=1, but this machine has 0. Set gpus=0 or NUM_"):
        check_num_gpus(1)


def test_one_process_needs_no_others_and_several_average_their_gradients(tmp_path):
    assert not isinstance(small_trainer(tmp_path).strategy, DDPStrategy)
    assert isinstance(small_trainer(tmp_path, strategy="ddp").strategy, DDPStrategy)
    trainer = small_trainer(tmp_path, devices=2)
    assert isinstance(trainer.strategy, DDPStrategy)
    assert trainer.world_size == 2


@pytest.mark.parametrize(
    ("precision", "on_gpu", "has_bf16", "resolved"),
    [
        ("auto", False, True, "bf16-mixed"),
        ("auto", False, False, "32-true"),
        ("auto", True, True, "bf16-mixed"),
        ("auto", True, False, "16-mixed"),
        ("16-mixed", True, True, "16-mixed"),
        ("bf16-mixed", False, False, "bf16-mixed"),
    ],
)
def test_auto_precision_is_what_the_device_has(monkeypatch, precision, on_gpu, has_bf16, resolved):
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return has_bf16 or including_emulation

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    capabilities = {"avx512_bf16": has_bf16, "amx_bf16": False, "avx512_f": True}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision(precision, on_gpu=on_gpu) == resolved


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_resumed_run_keeps_its_precision(monkeypatch, has_bf16):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has_bf16})
    for earlier in ("32-true", "bf16-mixed"):
        assert resolve_precision("auto", on_gpu=False, earlier=earlier) == earlier
        assert resolve_precision("32-true", on_gpu=False, earlier=earlier) == "32-true"
    anew = "bf16-mixed" if has_bf16 else "32-true"
    assert resolve_precision("auto", on_gpu=False, earlier="16-mixed") == anew


@pytest.mark.parametrize(
    ("changes", "is_mixed_in_tests"), [({}, False), ({"test_precision": "training"}, True)]
)
def test_tests_compute_in_float32_unless_asked_otherwise(tmp_path, changes, is_mixed_in_tests):
    plugin = small_trainer(tmp_path, precision="bf16-mixed", **changes).precision_plugin
    with plugin.val_step_context():
        assert torch.is_autocast_enabled("cpu")
    with plugin.test_step_context():
        assert torch.is_autocast_enabled("cpu") == is_mixed_in_tests
    assert small_trainer(tmp_path, **changes).precision == "32-true"
