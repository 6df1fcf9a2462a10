"""Speaker verification: scores of trials and their error rates."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from w2v2_mt.core.trials import Trial
from w2v2_mt.core.units import count
from w2v2_mt.metrics.ranked_trials import RankedTrials, validate_trials

TRIALS_PER_BLOCK = 1024


def equal_error_rate(scores: ArrayLike, labels: ArrayLike) -> tuple[float, float]:
    """Return the error rate at which misses and false alarms are equally frequent.

    A trial is accepted if its score is at least the threshold. The ROC is linear between the
    operating points of neighboring scores, so that the point exists.

    Args:
        scores: The finite score of each trial.
        labels: 1 for a target trial (same speaker), 0 for a non-target trial; both must occur.

    Returns:
        The rate, as a fraction, and its threshold.
    """
    return RankedTrials(scores, labels).equal_error_rate()


def min_dcf(
    scores: ArrayLike,
    labels: ArrayLike,
    p_target: float = 0.05,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> tuple[float, float]:
    """Return the minimum normalized detection cost over all thresholds.

    A cost of 1 is that of accepting or rejecting every trial, whichever is cheaper. `p_target` is
    the prior probability of a target trial, `c_miss` and `c_fa` are the costs of the two errors.

    Returns:
        The cost and its threshold, which is infinite if rejecting every trial is cheapest.

    Source: NIST SRE 2016 evaluation plan.
    """
    if not 0 < p_target < 1:
        raise ValueError(
            f"p_target ({p_target}) must lie between 0 and 1, both excluded. Use for example 0.05."
        )
    for name, cost in (("c_miss", c_miss), ("c_fa", c_fa)):
        if not 0 < cost < np.inf:
            raise ValueError(f"{name} ({cost}) must be finite and above 0. Use 1.")
    ranked = RankedTrials(scores, labels)
    miss_rates, false_alarm_rates = ranked.error_rates()
    miss_weight, false_alarm_weight = c_miss * p_target, c_fa * (1 - p_target)
    costs = miss_weight * miss_rates + false_alarm_weight * false_alarm_rates
    best = int(np.argmin(costs))
    return float(costs[best] / min(miss_weight, false_alarm_weight)), float(ranked.thresholds[best])


def cllr(scores: ArrayLike, labels: ArrayLike) -> float:
    """Return the cost of scores as natural log-likelihood ratios, in bits per trial.

    0 is perfect, 1 is the cost of a ratio of 1 for every trial, and a system above 1 misleads. It
    depends on the values of the scores, not only on their order: cosines, which are not ratios,
    cost at least 0.45, however well they separate.

    Source: Bruemmer & du Preez, Application-
    independent evaluation of speaker detection, Computer Speech & Language 20 (2006).
    """
    score_array, is_target = validate_trials(scores, labels)
    miss_cost = np.logaddexp(0, -score_array[is_target]).mean()
    false_alarm_cost = np.logaddexp(0, score_array[~is_target]).mean()
    return float((miss_cost + false_alarm_cost) / (2 * np.log(2)))


def trial_scores(
    embeddings: Mapping[str, Float[Tensor, " dim"]], trials: Sequence[Trial]
) -> Float[np.ndarray, " trials"]:
    """Return the cosine of the two embeddings of each trial, in float32.

    Trials are scored in blocks, so that memory does not grow with the number of pairs.

    Raises:
        ValueError: An utterance of a trial has no embedding.
    """
    rows: dict[str, int] = {}
    left = [rows.setdefault(trial.left_key, len(rows)) for trial in trials]
    right = [rows.setdefault(trial.right_key, len(rows)) for trial in trials]
    if missing := sorted(rows.keys() - embeddings.keys()):
        raise ValueError(
            f"utterance '{missing[0]}' of a trial has no embedding "
            f"({count(len(missing), 'such utterance')} in all); embed every utterance of the trial "
            "list before scoring it."
        )
    scores = np.empty(len(trials), dtype=np.float32)
    if not trials:
        return scores
    directions = F.normalize(torch.stack([embeddings[key].float() for key in rows]))
    for start in range(0, len(trials), TRIALS_PER_BLOCK):
        block = slice(start, start + TRIALS_PER_BLOCK)
        pair = directions[left[block]], directions[right[block]]  # each [block, dim]
        scores[block] = (pair[0] * pair[1]).sum(dim=1).detach().cpu().numpy()
    return scores
