import numpy as np
import pytest

from w2v2_mt.core.units import (
    count,
    is_rate,
    samples_from_seconds,
    seconds_from_samples,
    shortest_float32,
)


def test_seconds_and_samples_are_16_khz():
    assert samples_from_seconds(1.5) == 24_000
    assert seconds_from_samples(8_000) == 0.5


def test_counts_agree_with_their_nouns():
    assert [count(number, "shard") for number in (0, 1, 2)] == ["0 shards", "1 shard", "2 shards"]
    assert count(1, "batch", "batches") == "1 batch"
    assert count(2, "batch", "batches") == "2 batches"


@pytest.mark.parametrize("value", [0.36, 1 / 3, 1e-5, 123456.789, 16777216.0, 1.4e-45, -0.1])
def test_numbers_of_float32_have_no_more_digits_and_keep_their_float32(value):
    single = np.float32(value)
    assert shortest_float32(float(single)) == float(str(single))
    assert np.float32(shortest_float32(float(single))) == single


@pytest.mark.parametrize("value", [1 / 3, 0.1 + 0.2, 1e300, float("inf")])
def test_numbers_of_float64_lose_nothing(value):
    assert shortest_float32(value) == value


def test_rates_are_named():
    rates = ["val_eer", "val_score", "val_wer_dev_other", "train_wer", "train_acc"]
    others = ["val_eer_threshold", "val_loss", "val_loss_speech_x", "lr-Adam", "tested_step"]
    assert [name for name in rates + others if is_rate(name)] == rates
