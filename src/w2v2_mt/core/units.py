"""Seconds and samples, and the way from one to the other."""

SAMPLE_RATE_HZ = 16_000


def samples_from_seconds(duration_sec: float) -> int:
    """The number of 16 kHz samples nearest to a duration."""
    return round(duration_sec * SAMPLE_RATE_HZ)


def seconds_from_samples(num_samples: int) -> float:
    """The duration in seconds of a number of 16 kHz samples."""
    return num_samples / SAMPLE_RATE_HZ
