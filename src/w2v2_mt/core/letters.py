"""What is known of the letters of a training set before anything is learned."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LetterStatistics:
    """How often each letter, by its index in the vocabulary, is in so many samples of audio."""

    counts: list[int]
    blank_index: int
    num_samples: int
