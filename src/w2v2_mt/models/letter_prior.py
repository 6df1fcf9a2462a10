"""The letter prior: how likely each letter is at a frame of which nothing is known."""

import torch
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.letters import LetterStatistics

SMALLEST_PROBABILITY = 1e-6
"""Of a letter that never occurs, so that its logarithm is finite."""


def letter_prior(
    statistics: LetterStatistics, *, num_samples_per_frame: int
) -> Float[Tensor, " letters"]:
    """Each letter is at one frame and the blank at all that are left; the sum is 1.

    Raises ValueError where that leaves none.
    """
    num_frames = statistics.num_samples / num_samples_per_frame
    num_letters = sum(statistics.counts)
    if num_letters >= num_frames:
        raise ValueError(
            f"the training data has {num_letters} letters in {num_frames:.0f} frames, which leaves "
            "no frame for the blank; set network.ctc_bias_init=zero."
        )
    counts = torch.tensor(statistics.counts, dtype=torch.float64)
    prior = (counts / num_frames).clamp(min=SMALLEST_PROBABILITY)
    prior[statistics.blank_index] = 0
    prior[statistics.blank_index] = (1 - prior.sum()).clamp(min=SMALLEST_PROBABILITY)
    return (prior / prior.sum()).float()
