"""What is known of speaker recognition after a pass over evaluation sets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from w2v2_mt.core.batches import UNKNOWN_SPEAKER_INDEX, SpeakerBatch
from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.processes import gathered_from_processes
from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.bootstrap import (
    NUM_RESAMPLES,
    SEED,
    Interval,
    equal_error_rate_interval,
)
from w2v2_mt.metrics.verification import cllr, equal_error_rate, min_dcf, trial_scores
from w2v2_mt.models.networks import SpeakerOutput

SetEmbeddings = Mapping[str, Mapping[str, Tensor]]
"""Name of a set: key of an utterance: its embedding."""


@dataclass(frozen=True, kw_only=True)
class ScoredTrials:
    """A trial list with the score of each trial."""

    trials: Sequence[Trial]
    scores: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        return np.array([trial.same_speaker for trial in self.trials], dtype=int)

    def equal_error_rate(self) -> float:
        return equal_error_rate(self.scores, self.labels)[0]

    def equal_error_rate_interval(self) -> Interval:
        """95 %, over speakers."""
        pairs = [(speaker_of(trial.left_key), speaker_of(trial.right_key)) for trial in self.trials]
        return equal_error_rate_interval(
            self.scores, self.labels, pairs, num_resamples=NUM_RESAMPLES, seed=SEED
        )

    def cllr(self) -> float:
        return cllr(self.scores, self.labels)

    def min_dcf(self, p_target: float) -> float:
        return min_dcf(self.scores, self.labels, p_target=p_target)[0]


class SpeakerEvaluation:
    """Collects embeddings of each set, losses and hits of the classifier, a batch at a time.

    Losses and hits are over the utterances of training speakers only. Each process of a run has
    what it was given until `gather`; then all have everything.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]):
        self.loss = loss
        self.reset()

    def reset(self) -> None:
        self.embeddings: dict[str, dict[str, Tensor]] = {}
        self._summed_loss = 0.0
        self._num_hits = 0
        self._num_classified = 0

    def add_embeddings(self, batch: SpeakerBatch, output: SpeakerOutput) -> None:
        embeddings = self.embeddings.setdefault(batch.set_name, {})
        embeddings.update(zip(batch.keys, output.embeddings.float().cpu(), strict=True))

    def add_classification(self, batch: SpeakerBatch, output: SpeakerOutput) -> None:
        known = batch.speaker_indices != UNKNOWN_SPEAKER_INDEX
        indices, logits = batch.speaker_indices[known], output.logits[known]
        if len(indices) > 0:
            self._summed_loss += float(self.loss(logits, indices)) * len(indices)
            self._num_hits += int((logits.argmax(dim=-1) == indices).sum())
            self._num_classified += len(indices)

    def gather(self) -> None:
        """Bring together what the processes of a run have; every one calls it."""
        parts = gathered_from_processes(
            (self.embeddings, self._summed_loss, self._num_hits, self._num_classified)
        )
        self.reset()
        for embeddings, summed_loss, num_hits, num_classified in parts:
            for set_name, embedded in embeddings.items():
                self.embeddings.setdefault(set_name, {}).update(embedded)
            self._summed_loss += summed_loss
            self._num_hits += num_hits
            self._num_classified += num_classified

    def score(self, trials: Sequence[Trial], *, set_name: str) -> ScoredTrials:
        """Cosines; raises ValueError where an utterance of a trial was not embedded."""
        embeddings = self.embeddings.get(set_name, {})
        return ScoredTrials(trials=trials, scores=trial_scores(embeddings, trials))

    def classification(self) -> dict[str, float]:
        """Mean loss and accuracy over training speakers; empty where there were none."""
        if self._num_classified == 0:
            return {}
        return {
            "loss": self._summed_loss / self._num_classified,
            "accuracy": self._num_hits / self._num_classified,
        }
