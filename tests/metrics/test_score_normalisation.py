"""S-norm and AS-norm against loops in plain Python, by hand, and what they refuse."""

import math
from statistics import mean, pstdev

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.score_normalisation import normalise_scores
from w2v2_mt.metrics.verification import trial_scores


def cosine(a, b):
    a, b = a.tolist(), b.tolist()
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def by_loops(trials, embeddings, cohort, cohort_size):
    scores = []
    for trial in trials:
        score = cosine(embeddings[trial.left_key], embeddings[trial.right_key])
        halves = []
        for key in (trial.left_key, trial.right_key):
            others = [
                cosine(embeddings[key], each)
                for speaker, each in cohort.items()
                if speaker != key.split("/")[0]
            ]
            nearest = sorted(others, reverse=True)[:cohort_size]
            halves.append((score - mean(nearest)) / pstdev(nearest))
        scores.append(mean(halves))
    return scores


def normalised(trials, embeddings, cohort, cohort_size):
    return normalise_scores(
        trial_scores(embeddings, trials),
        trials,
        embeddings=embeddings,
        cohort=cohort,
        cohort_size=cohort_size,
    )


@given(
    seed=st.integers(0, 50),
    num_cohort=st.integers(3, 9),
    cohort_size=st.none() | st.integers(2, 12),
)
def test_scores_are_those_of_loops(seed, num_cohort, cohort_size):
    generator = torch.Generator().manual_seed(seed)
    embeddings = {
        f"s{number % 4}/v/{number}": torch.randn(6, generator=generator) for number in range(8)
    }
    # Two speakers of the trials are in the cohort, as those of validation trials are.
    cohort = {f"s{number + 2}": torch.randn(6, generator=generator) for number in range(num_cohort)}
    keys = list(embeddings)
    trials = [
        Trial(left[:2] == right[:2], left, right)
        for index, left in enumerate(keys)
        for right in keys[:index]
    ]
    expected = by_loops(trials, embeddings, cohort, cohort_size)
    torch.testing.assert_close(
        torch.from_numpy(normalised(trials, embeddings, cohort, cohort_size)),
        torch.tensor(expected, dtype=torch.float64),
        atol=1e-4,
        rtol=1e-4,
    )


AXES = {"a/v/0": torch.tensor([2.0, 0.0]), "b/v/0": torch.tensor([0.0, 0.5])}
TRIAL = Trial(False, "a/v/0", "b/v/0")


def test_a_score_by_hand():
    cohort = {
        "x": torch.tensor([3.0, 0.0]),
        "y": torch.tensor([0.0, 1.0]),
        "z": torch.tensor([0.0, -1.0]),
    }
    # a: cosines 1, 0, 0 with x, y, z: mean 1/3, deviation sqrt(2)/3; b: 0, 1, -1: 0, sqrt(2/3).
    (score,) = normalised([TRIAL], AXES, cohort, None)
    assert score == pytest.approx(0.5 * (-1 / math.sqrt(2) + 0))
    # The nearest two of a have 1 and 0, as have those of b: mean 1/2, deviation 1/2.
    (adaptive,) = normalised([TRIAL], AXES, cohort, 2)
    assert adaptive == pytest.approx(-1)


def test_more_utterances_than_a_block_have_their_own_cohort_scores():
    generator = torch.Generator().manual_seed(0)
    embeddings = {f"s{number}/v/0": torch.randn(4, generator=generator) for number in range(2_100)}
    cohort = {f"c{number}": torch.randn(4, generator=generator) for number in range(5)}
    trials = [Trial(False, f"s{number}/v/0", f"s{2_099 - number}/v/0") for number in range(1_000)]
    scores = normalised(trials, embeddings, cohort, 3)
    alone = [normalised([trial], embeddings, cohort, 3)[0] for trial in trials[::100]]
    np.testing.assert_allclose(scores[::100], alone, rtol=1e-5)


def test_a_cohort_of_one_other_speaker_is_refused():
    cohort = {"a": torch.ones(2), "x": torch.tensor([1.0, 0.5])}
    with pytest.raises(
        ValueError, match=r"^the cohort has 2 speakers, 1 other than that of an utterance, but "
    ):
        normalised([TRIAL], AXES, cohort, 300)


def test_equal_cohort_scores_are_refused():
    cohort = {"x": torch.tensor([1.0, 0.5]), "y": torch.tensor([2.0, 1.0])}
    with pytest.raises(ValueError, match=r"^utterance 'a/v/0' has the same score against every "):
        normalised([TRIAL], AXES, cohort, None)


@pytest.mark.parametrize("side", ["embeddings", "cohort"])
@pytest.mark.parametrize("cohort_size", [None, 2])
def test_an_embedding_that_is_not_finite_is_refused(side, cohort_size):
    trials = [Trial(left_key="a/1", right_key="b/1", same_speaker=False)]
    given = {
        "embeddings": {key: torch.randn(4) for key in ("a/1", "b/1")},
        "cohort": {key: torch.randn(4) for key in ("c", "d", "e")},
    }
    spoiled = list(given[side])[1]
    given[side][spoiled] = torch.full((4,), float("nan"))
    with pytest.raises(ValueError, match=f"embeddings of {spoiled} must be finite"):
        normalise_scores(np.array([0.5]), trials, cohort_size=cohort_size, **given)
