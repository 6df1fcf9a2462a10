import json
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn, TrainerState
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tests.helpers.list_logger import ListLogger
from tests.helpers.small_networks import save_architecture, small_speech_network
from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.models.flops import UsefulFlops
from w2v2_mt.training.callbacks.monitors import SpeedMonitor, peak_memory
from w2v2_mt.training.speed_meter import SpeedMeter

SECOND = 16_000


def test_the_peak_of_memory_is_that_of_the_process_and_of_its_gpu(monkeypatch):
    before = peak_memory(torch.device("cpu"))
    taken = torch.ones(2**28)  # 1 GiB
    after = peak_memory(torch.device("cpu"))
    assert before.keys() == after.keys() == {"memory_process_gib"}
    assert after["memory_process_gib"] >= max(before["memory_process_gib"], 1)
    del taken
    assert peak_memory(torch.device("cpu")) == after

    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**29)
    assert peak_memory(torch.device("cuda:0"))["memory_gpu_gib"] == 1.5


class Clock:
    """A clock that data, steps and validations move."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class SlowData(Dataset):
    """Batches that take two seconds each."""

    def __init__(self, clock):
        self.clock = clock

    def __len__(self):
        return 100

    def __getitem__(self, index):
        self.clock.now += 2
        return torch.ones(1)


class SlowTask(pl.LightningModule):
    """Steps that take three seconds each, on 8 s of audio in 10, and validations of 1,000 s."""

    def __init__(self, clock, network):
        super().__init__()
        self.clock = clock
        self.network = network
        self.layer = nn.Linear(1, 1)
        lengths = [5 * SECOND, 3 * SECOND]
        self.batch_lengths = [
            BatchLengths(num_samples=lengths, max_num_samples=lengths[0], rows={"speech": None})
        ]

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, batch, batch_idx):
        self.clock.now += 3
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.clock.now += 1000


@pytest.fixture
def network(tmp_path):
    return small_speech_network(save_architecture(tmp_path / "architecture", "base"))


@pytest.fixture
def train(tmp_path, network):
    """Trains a slow task on slow data; returns the logger and what was written of the speed."""

    def fit(num_steps, *, peak_tflops=None, power_watts=None, **options):
        clock, logger = Clock(), ListLogger()
        meter = SpeedMeter(clock=clock)
        monitor = SpeedMonitor(meter, peak_tflops=peak_tflops, power_watts=power_watts)
        trainer = pl.Trainer(
            accelerator="cpu",
            default_root_dir=tmp_path,
            max_steps=num_steps,
            log_every_n_steps=2,
            val_check_interval=4,
            num_sanity_val_steps=0,
            callbacks=[monitor],
            profiler=meter.loader_timer,
            logger=logger,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
            **options,
        )
        validation = DataLoader(torch.ones(1, 1))  # type: ignore[var-annotated]
        trainer.fit(SlowTask(clock, network), DataLoader(SlowData(clock)), validation)
        return logger, json.loads((tmp_path / "speed.json").read_text())

    return fit


def test_what_is_written_adds_up_waits_batches_and_operations(train, network):
    _, written = train(8)
    flops = 8 * UsefulFlops(network).count_step(SlowTask(None, network).batch_lengths)
    assert written == {
        "num_steps": 8,
        "training_sec": 40,
        "loader_wait_sec": 16,
        "num_samples": 64 * SECOND,
        "num_padded_samples": 80 * SECOND,
        "useful_flops": flops,
        "audio_per_sec": 1.6,
        "padding_share": pytest.approx(0.2),
        "loader_wait_share": 0.4,
        "tflops_per_sec": pytest.approx(flops / 40e12),
    }


def test_a_peak_and_a_power_that_are_given_yield_utilization_and_energy(train, monkeypatch):
    times = iter([0.0, 10.0])
    clock = Mock(monotonic=lambda: next(times))
    monkeypatch.setattr("w2v2_mt.training.energy_meter.time", clock)
    logger, written = train(8, peak_tflops=1e-3, power_watts=100.0)
    assert written["peak_flops"] == pytest.approx(40e9)
    assert written["mfu"] == pytest.approx(written["useful_flops"] / 40e9)
    assert written["energy_joules"] == 1000
    assert list(logger.of("speed_mfu").values()) == pytest.approx([written["mfu"]] * 4)


@pytest.mark.parametrize("num_batches_per_step", [1, 2])
def test_each_logged_step_has_the_rates_since_the_one_before(train, num_batches_per_step):
    logger, _ = train(8, accumulate_grad_batches=num_batches_per_step)
    assert list(logger.of("speed_audio_per_sec")) == [1, 3, 5, 7]
    # Validations do not count.
    assert list(logger.of("speed_audio_per_sec").values()) == pytest.approx([1.6] * 4)
    assert list(logger.of("speed_padding_share").values()) == pytest.approx([0.2] * 4)
    assert list(logger.of("speed_loader_wait_share").values()) == pytest.approx([0.4] * 4)


def test_sums_that_are_not_numbers_are_refused_in_a_sentence():
    trainer = Mock(spec=pl.Trainer, state=TrainerState(fn=TrainerFn.FITTING))
    monitor = SpeedMonitor(SpeedMeter(), peak_tflops=None, power_watts=None)
    with pytest.raises(ValueError, match="^the state to resume from has sums of the speed of"):
        monitor.on_load_checkpoint(trainer, None, {"w2v2_mt_speed": {"num_samples": "many"}})
