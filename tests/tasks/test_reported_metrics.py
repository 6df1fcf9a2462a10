"""Names and values of the test metrics."""

import numpy as np
import pytest

from tests.helpers.joint_training import small_speech_objective
from w2v2_mt.core.trials import Trial
from w2v2_mt.metrics.bootstrap import error_rate_interval
from w2v2_mt.metrics.verification import cllr
from w2v2_mt.tasks.speaker_evaluation import ScoredTrials
from w2v2_mt.tasks.transcripts import Transcript


def evaluation_of(transcripts):
    evaluation = small_speech_objective().evaluation
    evaluation.transcripts["clean"] = [
        Transcript(key=key, reference=reference, hypothesis=hypothesis)
        for key, reference, hypothesis in transcripts
    ]
    return evaluation


def test_metrics_of_speech():
    metrics = evaluation_of(
        [
            ("1/1/0", "AB CD", "AB CX"),
            ("1/1/1", "EF", "EF"),
            ("2/1/0", "GH IJ", "GH"),
            ("3/1/0", "KL", "KL M"),
        ]
    ).test_metrics()
    low, high = error_rate_interval([1, 1, 1], [3, 2, 1], ["1", "2", "3"])
    assert metrics == pytest.approx(
        {
            "test_wer_clean": 3 / 6,
            "test_wer_clean_low": low,
            "test_wer_clean_high": high,
            "test_wer_clean_substitutions": 1,
            "test_wer_clean_deletions": 1,
            "test_wer_clean_insertions": 1,
            "test_wer_clean_num_words": 6,
            "test_cer_clean": (1 + 3 + 2) / 14,
            "test_cer_clean_substitutions": 1,
            "test_cer_clean_deletions": 3,
            "test_cer_clean_insertions": 2,
            "test_cer_clean_num_characters": 14,
        }
    )
    assert low < 3 / 6 < high


def test_one_speaker_has_no_interval():
    metrics = evaluation_of([("1/1/0", "A", "A"), ("1/1/1", "B", "C")]).test_metrics()
    assert metrics["test_wer_clean"] == 0.5
    assert not {"test_wer_clean_low", "test_wer_clean_high"} & metrics.keys()


def test_metrics_of_a_trial_list():
    keys = [f"id{speaker}/video/{number}" for speaker in range(6) for number in range(3)]
    trials = [
        Trial(left.split("/")[0] == right.split("/")[0], left, right)
        for index, left in enumerate(keys)
        for right in keys[:index]
    ]
    same = np.array([trial.same_speaker for trial in trials])
    scores = np.random.default_rng(0).normal(size=len(trials)) + same
    metrics = ScoredTrials(trials=trials, scores=scores).test_metrics("o")
    assert metrics.keys() == {
        "test_eer_o",
        "test_eer_o_low",
        "test_eer_o_high",
        "test_mindcf_o",
        "test_mindcf_p01_o",
        "test_cllr_o",
    }
    assert metrics["test_eer_o_low"] < metrics["test_eer_o"] < metrics["test_eer_o_high"]
    assert metrics["test_cllr_o"] == cllr(scores, same)
