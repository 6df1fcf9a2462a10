"""Normalization of verification scores by the scores against a cohort of speakers."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.finite import check_finite
from w2v2_mt.core.samples import speaker_of
from w2v2_mt.core.trials import Trial
from w2v2_mt.core.units import count

_UTTERANCES_PER_BLOCK = 1024
_LEAST_DEVIATION = 1e-6
"""Below it, cosines in float32 differ by rounding alone."""


def normalise_scores(
    scores: Float[np.ndarray, " trials"],
    trials: Sequence[Trial],
    *,
    embeddings: Mapping[str, Float[Tensor, " dim"]],
    cohort: Mapping[str, Float[Tensor, " dim"]],
    cohort_size: int | None,
    speakers: Mapping[str, str] | None = None,
) -> Float[np.ndarray, " trials"]:
    """Apply symmetric score normalization, S-norm or adaptive (AS-norm).

    The score s of a trial of the utterances a and b becomes
    ((s - mean_a) / deviation_a + (s - mean_b) / deviation_b) / 2, with the mean and the population
    standard deviation of the cosines of each utterance with the cohort. The speaker of an utterance
    is not part of its own cohort.

    Args:
        scores: The cosine of each trial.
        trials: The utterances of these scores.
        embeddings: An embedding per utterance.
        cohort: An embedding per speaker of the cohort.
        cohort_size: Use this many nearest speakers of the cohort (AS-norm). None uses all (S-norm).
        speakers: The speaker of each utterance. None: that of its key.

    Raises:
        ValueError: The cohort has fewer than two speakers, an embedding is NaN or infinite, or all
            cosines are equal.

    Source: Kenny, Bayesian speaker verification with heavy tailed priors, Odyssey 2010; Matejka et
    al., Analysis of score normalization in multilingual speaker recognition, Interspeech 2017,
    AS-norm1.
    """
    rows: dict[str, int] = {}
    left = [rows.setdefault(trial.left_key, len(rows)) for trial in trials]
    right = [rows.setdefault(trial.right_key, len(rows)) for trial in trials]
    means, deviations = _cohort_statistics(list(rows), embeddings, cohort, cohort_size, speakers)
    halves = [(scores - means[side]) / deviations[side] for side in (left, right)]
    return 0.5 * (halves[0] + halves[1])


def _cohort_statistics(
    keys: Sequence[str],
    embeddings: Mapping[str, Tensor],
    cohort: Mapping[str, Tensor],
    cohort_size: int | None,
    speakers: Mapping[str, str] | None,
) -> tuple[Float[np.ndarray, " keys"], Float[np.ndarray, " keys"]]:
    """Return mean and standard deviation of the cosines of each utterance with its cohort."""
    own_speakers = {key: speaker_of(key, speakers) for key in keys}
    num_others = len(cohort) - any(speaker in cohort for speaker in own_speakers.values())
    if num_others < 2:
        raise ValueError(
            f"the cohort has {count(len(cohort), 'speaker')}, {num_others} other than that of an "
            "utterance, but a normalised score needs two; train on more speakers or set "
            "evaluation.score_normalisation=none."
        )
    vectors = torch.stack([each.float() for each in cohort.values()])
    check_finite(vectors, what="cohort embeddings", keys=list(cohort))
    directions = F.normalize(vectors)
    columns = {speaker: column for column, speaker in enumerate(cohort)}
    num_nearest = len(cohort) if cohort_size is None else min(cohort_size, len(cohort))
    means, deviations = np.empty(len(keys)), np.empty(len(keys))
    for start in range(0, len(keys), _UTTERANCES_PER_BLOCK):
        block = keys[start : start + _UTTERANCES_PER_BLOCK]
        own = torch.stack([embeddings[key].float() for key in block])
        check_finite(own, what="embeddings", keys=block)
        cosines = (F.normalize(own) @ directions.T).double()  # [block, cohort]
        for row, key in enumerate(block):
            if own_speakers[key] in columns:
                cosines[row, columns[own_speakers[key]]] = -torch.inf
        nearest = cosines.topk(num_nearest, dim=1).values
        nearest[nearest == -torch.inf] = torch.nan  # at most one of a row: its own speaker
        mean = nearest.nanmean(dim=1, keepdim=True)
        where = slice(start, start + len(block))
        means[where] = mean[:, 0].numpy()
        deviations[where] = (nearest - mean).square().nanmean(dim=1).sqrt().numpy()
    if (flat := np.flatnonzero(deviations < _LEAST_DEVIATION)).size:
        raise ValueError(
            f"utterance '{keys[flat[0]]}' has the same score against every speaker of its cohort, "
            "so its scores cannot be normalised; set evaluation.score_normalisation=none, or test "
            "a network that separates speakers."
        )
    return means, deviations
