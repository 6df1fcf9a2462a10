"""Speaker verification: scores of trials, and the error rates of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.ranked_trials import RankedTrials, checked_trials

TRIALS_PER_BLOCK = 1024


def equal_error_rate(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """The error rate, as a fraction, where misses and false alarms are equally frequent.

    A trial is accepted when its score is at least the threshold; label 1 means same speaker. The
    ROC is linear between the operating points of neighbouring scores, so that the point exists.

    Returns the rate and its threshold. Raises ValueError for input that has no such rate.
    """
    return RankedTrials(scores, labels).equal_error_rate()


def min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.05,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> tuple[float, float]:
    """The least detection cost over all thresholds, relative to the best answer without scores.

    1 means no better than to accept or to reject every trial, whichever is cheaper.

    Returns the cost and its threshold, which is infinite when rejecting every trial is cheapest.
    Raises ValueError for input that has no such cost. Source: NIST SRE 2016 evaluation plan.
    """
    if not 0 < p_target < 1:
        raise ValueError(
            f"p_target is {p_target}, but the prior of a trial with one speaker lies between 0 "
            "and 1, both excluded; use for example 0.05."
        )
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not 0 < cost < np.inf:
            raise ValueError(f"{name} is {cost}, but a cost is finite and above 0; use 1.")

    ranked = RankedTrials(scores, labels)
    miss_rates, false_alarm_rates = ranked.error_rates()
    miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1 - p_target)
    costs = miss_weight * miss_rates + false_alarm_weight * false_alarm_rates
    best = int(np.argmin(costs))
    cost_without_scores = min(miss_weight, false_alarm_weight)
    return float(costs[best] / cost_without_scores), float(ranked.thresholds[best])


def cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """What scores cost, in bits a trial, when they are taken as natural log-likelihood ratios.

    0 is perfect, 1 is what a ratio of 1 for every trial costs, and above 1 a system misleads. It
    judges the values of the scores, not their order alone: cosines, which are no ratios, cost 0.45
    at least, however well they separate.

    Raises ValueError for input that has no such cost. Source: Bruemmer & du Preez, Application-
    independent evaluation of speaker detection, Computer Speech & Language 20 (2006).
    """
    score_array, is_target = checked_trials(scores, labels)
    miss_cost = np.logaddexp(0, -score_array[is_target]).mean()
    false_alarm_cost = np.logaddexp(0, score_array[~is_target]).mean()
    return float((miss_cost + false_alarm_cost) / (2 * np.log(2)))


def trial_scores(
    embeddings: Mapping[str, Float[Tensor, " dim"]], trials: Sequence[Trial]
) -> Float[np.ndarray, " trials"]:
    """The cosine of the two embeddings of each trial, in float32.

    Works through the trials in blocks, so that the memory it takes does not grow with their pairs.

    Raises ValueError for a trial with an utterance that has no embedding.
    """
    missing = {
        key: None
        for trial in trials
        for key in (trial.left_key, trial.right_key)
        if key not in embeddings
    }
    if missing:
        raise ValueError(
            f"utterance '{next(iter(missing))}' of a trial has no embedding (so do {len(missing)} "
            "utterance(s) in all); embed every utterance of the trial list before scoring it."
        )

    rows: dict[str, int] = {}
    left = [rows.setdefault(trial.left_key, len(rows)) for trial in trials]
    right = [rows.setdefault(trial.right_key, len(rows)) for trial in trials]
    scores = np.empty(len(trials), dtype=np.float32)
    if not trials:
        return scores
    directions = F.normalize(torch.stack([embeddings[key].float() for key in rows]))
    for start in range(0, len(trials), TRIALS_PER_BLOCK):
        block = slice(start, start + TRIALS_PER_BLOCK)
        pair = directions[left[block]], directions[right[block]]  # each [block, dim]
        scores[block] = (pair[0] * pair[1]).sum(dim=1).detach().cpu().numpy()
    return scores
