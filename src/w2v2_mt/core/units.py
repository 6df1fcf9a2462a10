"""Units: seconds and samples, counted things, rates, and the digits of numbers."""

import re

SAMPLE_RATE_HZ = 16_000
MIN_UTTERANCE_SAMPLES = 400
"""The samples of one frame of every wav2vec2 model (25 ms); shorter audio has no frame."""

_RATE = re.compile(r"(train|val)_(score|acc|speaker_acc|eer|(wer|cer)(_.+)?)")


def samples_from_seconds(duration_sec: float) -> int:
    """Return the number of 16 kHz samples nearest to a duration."""
    return round(duration_sec * SAMPLE_RATE_HZ)


def seconds_from_samples(num_samples: int) -> float:
    """Return the duration in seconds of a number of 16 kHz samples."""
    return num_samples / SAMPLE_RATE_HZ


def count(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as `1 shard`, `2 shards` or `2 entries`."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def is_rate(metric: str) -> bool:
    """Return True for a metric of training or validation that is shown in per cent."""
    return _RATE.fullmatch(metric) is not None


def shortest_float32(value: float) -> float:
    """Return a number that was computed in float32 without the digits that float32 does not have.

    Its float32 stays the same. A number with more digits than a float32 can hold is unchanged.
    """
    import numpy as np  # Commands that only check settings start faster without it.

    with np.errstate(over="ignore"):
        single = np.float32(value)
    return float(str(single)) if float(single) == value else value
