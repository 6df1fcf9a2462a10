import pytest

from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.training.energy_meter import EnergyMeter
from w2v2_mt.training.speed_meter import SpeedMeter, SpeedTotals, merge_processes

SECOND = 16_000


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def batch(*seconds):
    lengths = [round(each * SECOND) for each in seconds]
    return BatchLengths(num_samples=lengths, max_num_samples=max(lengths), rows={})


def fetch(meter, clock, duration_sec):
    meter.loader_timer.start("[_TrainingEpochLoop].train_dataloader_next")
    clock.now += duration_sec
    meter.loader_timer.stop("[_TrainingEpochLoop].train_dataloader_next")


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def meter(clock):
    """A meter after two steps of 4 s and a validation of 1,000 s between them."""
    made = SpeedMeter(clock=clock)
    clock.now += 50  # before the first fetch
    for is_validated in (True, False):
        fetch(made, clock, 1)
        made.add_batches([batch(3, 1), batch(4, 4)], useful_flops=2e12)
        clock.now += 3
        if is_validated:
            made.pause()
            made.loader_timer.start("[_EvaluationLoop].val_next")
            clock.now += 1000
            made.loader_timer.stop("[_EvaluationLoop].val_next")
    return made


def test_rates_are_those_of_training_without_validations(meter):
    totals = meter.read()
    assert totals == SpeedTotals(
        training_sec=8,
        loader_wait_sec=2,
        num_samples=24 * SECOND,
        num_padded_samples=28 * SECOND,
        useful_flops=4e12,
    )
    assert totals.rates() == {
        "audio_per_sec": 3,
        "padding_share": pytest.approx(4 / 28),
        "loader_wait_share": 0.25,
        "tflops_per_sec": 0.5,
    }
    sentence = "3 s of audio/s, padding 14.3 %, loader wait 25.0 %, 0.5 TFLOP/s"
    assert totals.describe() == sentence
    assert totals.summary().keys() == totals.rates().keys() | {
        "training_sec", "loader_wait_sec", "num_samples", "num_padded_samples", "useful_flops",
    }  # fmt: skip


def test_a_difference_has_the_rates_of_the_steps_in_between(meter, clock):
    before = meter.read()
    fetch(meter, clock, 0)
    meter.add_batches([batch(5)], useful_flops=4e12)
    clock.now += 2
    rates = (meter.read() - before).rates()
    assert rates == {
        "audio_per_sec": 2.5,
        "padding_share": 0,
        "loader_wait_share": 0,
        "tflops_per_sec": 2,
    }


def test_the_utilization_is_the_share_of_what_the_devices_could_have_done(meter, clock):
    meter.read()
    meter.peak_tflops = 10.0
    before = meter.read()
    fetch(meter, clock, 1)
    meter.add_batches([batch(5)], useful_flops=12e12)
    clock.now += 3
    for num_processes in (1, 2):
        totals = meter.read(num_processes=num_processes)
        assert (meter.read() - before).mfu == 0.3
    assert "MFU 40.0 %" in totals.describe()


def test_energy_is_added_up_over_the_run_only(meter):
    joules = iter([0.0, 5.0, 12.0])
    meter.energy = EnergyMeter(lambda: next(joules))
    assert meter.read_run().energy_joules == 5
    assert meter.read_run().energy_joules == 12


def test_processes_that_train_side_by_side_share_the_time_and_add_their_audio(meter):
    other = SpeedTotals(
        training_sec=8, loader_wait_sec=4, num_samples=8 * SECOND, num_padded_samples=8 * SECOND
    )
    merged = merge_processes([meter.read(), other])
    assert merged == SpeedTotals(
        training_sec=8,
        loader_wait_sec=3,
        num_samples=32 * SECOND,
        num_padded_samples=36 * SECOND,
        useful_flops=4e12,
    )
    assert merged.audio_per_sec == 4
    assert meter.read(num_processes=2).audio_per_sec == 6


def test_a_run_continues_the_sums_of_its_earlier_parts(meter):
    earlier = SpeedTotals(
        training_sec=2, loader_wait_sec=0, num_samples=6 * SECOND, num_padded_samples=6 * SECOND
    )
    meter.continue_from(earlier)
    assert meter.read_run() == earlier + meter.read()
    assert meter.read_run().audio_per_sec == 3


def test_nothing_has_rates_of_zero():
    assert set(SpeedTotals().rates().values()) == {0}
