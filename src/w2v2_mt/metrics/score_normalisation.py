"""Scores of verification trials relative to the scores of their utterances against a cohort."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.core.trials import Trial

_UTTERANCES_PER_BLOCK = 1024
_LEAST_DEVIATION = 1e-6
"""Below it, cosines in float32 differ by rounding alone."""


def normalised_scores(
    scores: Float[np.ndarray, " trials"],
    trials: Sequence[Trial],
    *,
    embeddings: Mapping[str, Float[Tensor, " dim"]],
    cohort: Mapping[str, Float[Tensor, " dim"]],
    cohort_size: int | None,
) -> Float[np.ndarray, " trials"]:
    """Symmetric score normalisation, adaptive where `cohort_size` is not None.

    Of a trial of the utterances a and b with the score s it makes
    ((s - mean_a) / deviation_a + (s - mean_b) / deviation_b) / 2, with the mean and the standard
    deviation (of a population) of the cosines of each utterance with the embeddings of the cohort,
    by speaker: with all of them (S-norm), or with the `cohort_size` nearest ones of that utterance
    (AS-norm; all where there are fewer). The speaker of an utterance is no part of its own cohort.

    Raises ValueError for a cohort of fewer than two speakers, and for cosines that are all equal.
    Sources: Kenny, Bayesian speaker verification with heavy tailed priors, Odyssey 2010; Matejka et
    al., Analysis of score normalization in multilingual speaker recognition, Interspeech 2017,
    AS-norm1.
    """
    rows: dict[str, int] = {}
    left = [rows.setdefault(trial.left_key, len(rows)) for trial in trials]
    right = [rows.setdefault(trial.right_key, len(rows)) for trial in trials]
    means, deviations = _cohort_statistics(list(rows), embeddings, cohort, cohort_size)
    halves = [(scores - means[side]) / deviations[side] for side in (left, right)]
    return 0.5 * (halves[0] + halves[1])


def _cohort_statistics(
    keys: Sequence[str],
    embeddings: Mapping[str, Tensor],
    cohort: Mapping[str, Tensor],
    cohort_size: int | None,
) -> tuple[Float[np.ndarray, " keys"], Float[np.ndarray, " keys"]]:
    """Mean and standard deviation of the cosines of each utterance with its cohort."""
    num_others = len(cohort) - any(speaker_of(key) in cohort for key in keys)
    if num_others < 2:
        raise ValueError(
            f"the cohort has {len(cohort)} speaker(s), {num_others} other than that of an "
            "utterance, but a normalised score needs two; train on more speakers or set "
            "evaluation.score_normalisation=none."
        )
    columns = {speaker: column for column, speaker in enumerate(cohort)}
    directions = F.normalize(torch.stack([each.float() for each in cohort.values()]))
    num_nearest = len(cohort) if cohort_size is None else min(cohort_size, len(cohort))
    means, deviations = np.empty(len(keys)), np.empty(len(keys))
    for start in range(0, len(keys), _UTTERANCES_PER_BLOCK):
        block = keys[start : start + _UTTERANCES_PER_BLOCK]
        own = F.normalize(torch.stack([embeddings[key].float() for key in block]))
        cosines = (own @ directions.T).double()  # [block, cohort]
        for row, key in enumerate(block):
            if speaker_of(key) in columns:
                cosines[row, columns[speaker_of(key)]] = -torch.inf
        nearest = cosines.topk(num_nearest, dim=1).values
        counts = nearest > -torch.inf  # false at most once in a row: its own speaker
        num_counted = counts.sum(dim=1)
        mean = nearest.masked_fill(~counts, 0).sum(dim=1) / num_counted
        squares = ((nearest - mean[:, None]) ** 2).masked_fill(~counts, 0)
        where = slice(start, start + len(block))
        means[where] = mean.numpy()
        deviations[where] = (squares.sum(dim=1) / num_counted).sqrt().numpy()
    if (flat := np.flatnonzero(deviations < _LEAST_DEVIATION)).size:
        raise ValueError(
            f"utterance '{keys[flat[0]]}' has the same score against every speaker of its cohort, "
            "so its scores cannot be normalised; set evaluation.score_normalisation=none, or test "
            "a network that has learned to tell speakers apart."
        )
    return means, deviations
