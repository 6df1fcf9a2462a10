"""Scores of trials by whole utterances, beginnings and a cohort."""

import numpy as np
import pytest
import torch

from tests.helpers.joint_training import small_speaker_evaluation
from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.score_normalisation import normalise_scores

TRIALS = [Trial(True, "a/v/0", "a/v/1"), Trial(False, "a/v/0", "b/v/0")]
WHOLE = {
    "a/v/0": torch.tensor([1.0, 0.0]),
    "a/v/1": torch.tensor([0.6, 0.8]),
    "b/v/0": torch.tensor([0.0, 2.0]),
}
COHORT = {
    "x/v/0": torch.tensor([3.0, 0.0]),
    "x/v/1": torch.tensor([1.0, 2.0]),
    "y/v/0": torch.tensor([0.0, 1.0]),
    "z/v/0": torch.tensor([-1.0, -1.0]),
}


def scored_trials(embeddings, trial_lists, **settings):
    evaluation = small_speaker_evaluation(test_trials=trial_lists, **settings)
    evaluation.embeddings = embeddings
    return evaluation.score_trials()


def test_a_beginning_replaces_its_utterance_and_a_short_utterance_stays_whole():
    scored = scored_trials(
        {
            "test": WHOLE,
            "test_2s": {"a/v/0": torch.tensor([0.0, 1.0])},
            "test_2.5s": {"a/v/1": torch.tensor([5.0, 0.0])},
        },
        {"o": TRIALS, "val": TRIALS[::-1]},
        durations_sec=[2, 2.5],
    )
    assert list(scored) == ["o", "val", "o_2s", "val_2s", "o_2.5s", "val_2.5s"]
    expected = {"o": [0.6, 0.0], "o_2s": [0.8, 1.0], "o_2.5s": [1.0, 0.0]}
    for name, scores in expected.items():
        np.testing.assert_allclose(scored[name].scores, scores, atol=1e-6)
        np.testing.assert_allclose(
            scored[name.replace("o", "val", 1)].scores, scores[::-1], atol=1e-6
        )


@pytest.mark.parametrize(("normalisation", "size"), [("s_norm", None), ("as_norm", 2)])
def test_the_cohort_is_the_mean_embedding_of_each_speaker(normalisation, size):
    scored = scored_trials(
        {"test": WHOLE, "cohort": COHORT}, {"o": TRIALS}, normalisation=normalisation
    )
    means = {
        "x": torch.tensor([2.0, 1.0]),
        "y": torch.tensor([0.0, 1.0]),
        "z": torch.tensor([-1.0, -1.0]),
    }
    expected = normalise_scores(
        np.array([0.6, 0.0]), TRIALS, embeddings=WHOLE, cohort=means, cohort_size=size
    )
    np.testing.assert_allclose(scored["o"].scores, expected, rtol=1e-5)


def test_an_utterance_that_was_not_embedded_whole_is_named():
    with pytest.raises(ValueError, match=r"^utterance 'a/v/1' of a trial has no embedding"):
        scored_trials({"test": {key: WHOLE[key] for key in ("a/v/0", "b/v/0")}}, {"o": TRIALS})
