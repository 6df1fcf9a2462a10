"""How the trials of a test are scored: by which embeddings, relative to which cohort."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.trials import ScoreNormalisation, Trial
from w2v2_mt.data.voxceleb import COHORT_SET, TEST_SET, duration_name, limited_test_set
from w2v2_mt.metrics.score_normalisation import normalised_scores
from w2v2_mt.metrics.verification import trial_scores
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials, SetEmbeddings

TrialLists = Mapping[str, Sequence[Trial]]


class TrialScoring:
    """Scores each list of trials for whole utterances, and for the beginnings of utterances.

    Args:
        normalisation: "none" leaves the cosines as they are; "s_norm" and "as_norm" are described
            at `normalised_scores`.
        cohort_size: so many of the nearest speakers count in "as_norm".
        durations_sec: the lengths of the beginnings; a shorter utterance is used whole.
    """

    def __init__(
        self,
        *,
        normalisation: ScoreNormalisation,
        cohort_size: int,
        durations_sec: Sequence[float],
    ) -> None:
        self.normalisation = normalisation
        self.cohort_size = cohort_size
        self.durations_sec = list(durations_sec)

    def score_all(
        self, embeddings: SetEmbeddings, trial_lists: TrialLists
    ) -> dict[str, ScoredTrials]:
        """By the name of a list, for whole utterances, and by `<name>_<N>s`, for beginnings.

        Raises ValueError where an utterance of a trial was not embedded, and where scores cannot be
        normalised.
        """
        whole = embeddings.get(TEST_SET, {})
        by_suffix = {"": whole}
        for duration_sec in self.durations_sec:
            beginnings = embeddings.get(limited_test_set(duration_sec), {})
            by_suffix[f"_{duration_name(duration_sec)}"] = {**whole, **beginnings}
        cohort = _mean_by_speaker(embeddings.get(COHORT_SET, {}))
        return {
            f"{name}{suffix}": self._score(embedded, trials, cohort)
            for suffix, embedded in by_suffix.items()
            for name, trials in trial_lists.items()
        }

    def _score(
        self, embeddings: Mapping[str, Tensor], trials: Sequence[Trial], cohort: dict[str, Tensor]
    ) -> ScoredTrials:
        scores = trial_scores(embeddings, trials)
        if self.normalisation != "none":
            scores = normalised_scores(
                scores,
                trials,
                embeddings=embeddings,
                cohort=cohort,
                cohort_size=self.cohort_size if self.normalisation == "as_norm" else None,
            )
        return ScoredTrials(trials=trials, scores=scores)


def _mean_by_speaker(embeddings: Mapping[str, Tensor]) -> dict[str, Tensor]:
    by_speaker: dict[str, list[Tensor]] = defaultdict(list)
    for key, embedding in sorted(embeddings.items()):
        by_speaker[speaker_of(key)].append(embedding)
    return {speaker: torch.stack(each).mean(dim=0) for speaker, each in by_speaker.items()}
