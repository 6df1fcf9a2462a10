from w2v2_mt.core.units import samples_from_seconds, seconds_from_samples


def test_seconds_and_samples_are_16_khz():
    assert samples_from_seconds(1.5) == 24_000
    assert seconds_from_samples(8_000) == 0.5
