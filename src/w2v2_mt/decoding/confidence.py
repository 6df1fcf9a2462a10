"""The confidence of a greedy transcript, from the posteriors of its tokens."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.decoding.tokenizer import Tokenizer


def greedy_confidence(
    tokens: Int[Tensor, " frames"],
    log_probabilities: Float[Tensor, " frames"],
    *,
    tokenizer: Tokenizer,
) -> float:
    """Return the geometric mean of the posteriors of the tokens of a greedy transcript.

    A token is a run of frames of which it is the best one, and its posterior p the largest of these
    frames: exp((ln p_1 + ... + ln p_N) / N). Blanks and other special tokens do not count. A
    transcript without tokens has a confidence of 0.

    Args:
        tokens: The best token of each frame.
        log_probabilities: ln p of the best token of each frame.
        tokenizer: The tokenizer of the network.

    Source: the length-normalised log likelihood of Kahn et al., Self-training for end-to-end speech
    recognition, ICASSP 2020, section 3.3, for the best alignment.
    """
    runs, run_of_frame = torch.unique_consecutive(tokens, return_inverse=True)
    lowest = torch.full(runs.shape, -torch.inf, dtype=log_probabilities.dtype)
    largest = lowest.scatter_reduce(0, run_of_frame, log_probabilities, reduce="amax")
    has_text = torch.tensor([index in tokenizer.text_of_token for index in runs.tolist()])
    if not has_text.any():
        return 0.0
    return float(largest[has_text].mean().exp())
