import pytest

from w2v2_mt.core.batches import BatchLengths
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
        made.add_batches([batch(3, 1), batch(4, 4)])
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
        training_sec=8, loader_wait_sec=2, num_samples=24 * SECOND, num_padded_samples=28 * SECOND
    )
    assert totals.rates() == {
        "audio_per_sec": 3,
        "padding_share": pytest.approx(4 / 28),
        "loader_wait_share": 0.25,
    }
    assert totals.describe() == "3 s of audio/s, padding 14.3 %, loader wait 25.0 %"


def test_a_difference_has_the_rates_of_the_steps_in_between(meter, clock):
    before = meter.read()
    fetch(meter, clock, 0)
    meter.add_batches([batch(5)])
    clock.now += 2
    rates = (meter.read() - before).rates()
    assert rates == {"audio_per_sec": 2.5, "padding_share": 0, "loader_wait_share": 0}


def test_processes_that_train_side_by_side_share_the_time_and_add_their_audio(meter):
    other = SpeedTotals(
        training_sec=8, loader_wait_sec=4, num_samples=8 * SECOND, num_padded_samples=8 * SECOND
    )
    merged = merge_processes([meter.read(), other])
    assert merged == SpeedTotals(
        training_sec=8, loader_wait_sec=3, num_samples=32 * SECOND, num_padded_samples=36 * SECOND
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
