"""Beam search in processes of its own, while this one computes the next batches."""

from collections.abc import Callable
from functools import partial

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from w2v2_mt.core.workers import FORK_IF_POSSIBLE, Workers
from w2v2_mt.decoding.beam_search import BeamSearch


class BackgroundSearch(Workers):
    """The processes of a beam search; without any, this process searches.

    Forked processes do not load the language model again.
    """

    def __init__(self, search: BeamSearch) -> None:
        super().__init__(
            search.settings.num_processes,
            start_method=FORK_IF_POSSIBLE,
            prepare=partial(_keep, search),
        )

    def begin_batch(
        self, logits: Float[Tensor, "batch frames tokens"], num_frames: Int[Tensor, " batch"]
    ) -> Callable[[], list[str]]:
        """Begin to search a batch, of which the first `num_frames[i]` frames of row i are valid.

        Returns:
            A function that waits for the text of each row and returns them; its OSError says that
            a process was killed.
        """
        log_probabilities = logits.float().log_softmax(dim=-1).cpu().numpy()
        rows = zip(log_probabilities, num_frames.tolist(), strict=True)
        texts = [self.begin(_search, row[:length]) for row, length in rows]
        return lambda: [self.answer_of(text) for text in texts]


_kept: list[BeamSearch] = []
"""The beam search of this process."""


def _keep(search: BeamSearch) -> None:
    _kept[:] = [search]


def _search(log_probabilities: Float[np.ndarray, "frames tokens"]) -> str:
    return _kept[0].decode(log_probabilities)
