"""Names that tools outside of this repository import, with what they do."""

import inspect
import math
from random import Random

import numpy as np
import pytest
import torch

from w2v2_mt.data.batching import dynamic_batches
from w2v2_mt.losses import weighting
from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.metrics.verification import equal_error_rate, min_dcf
from w2v2_mt.metrics.word_error_rate import word_error_rate
from w2v2_mt.models import pooling
from w2v2_mt.models.networks import MultiTaskNetwork, SpeakerNetwork, SpeechNetwork
from w2v2_mt.optim.schedules import tri_stage

LOSSES = {"speech": torch.tensor(4.0), "speaker": torch.tensor(1.0)}
TASKS = list(LOSSES)
WEIGHTINGS = {
    "EqualWeighting": ({}, {"speech": 0.5, "speaker": 0.5}),
    "StaticWeighting": (
        {"static_speech_weight": 0.7},
        {"speech": 0.7, "speaker": 0.3},
    ),
    "MinWeighting": ({}, {"speech": 0.25, "speaker": 1.0}),
    "MaxWeighting": ({}, {"speech": 1.0, "speaker": 4.0}),
    "DynamicWeightAverage": (
        {"task_names": TASKS, "dwa_weight_sum": 1.0, "dwa_temperature": 2.0, "dwa_window": 4},
        {"speech": 0.5, "speaker": 0.5},
    ),
    "UncertaintyWeighting": (
        {"task_names": TASKS, "weight_lr": 0.1},
        {"speech": 1.0, "speaker": 1.0},
    ),
    "GradNorm": (
        {"task_names": TASKS, "weight_lr": 0.1, "gradnorm_alpha": 1.5},
        {"speech": 0.5, "speaker": 0.5},
    ),
    "PcGrad": ({}, {"speech": 0.5, "speaker": 0.5}),
}
POOLINGS = {
    "FirstPooling": [1.0],
    "LastPooling": [4.0],
    "MiddlePooling": [2.0],
    "RandomPooling": [2.0],
    "MaxPooling": [4.0],
    "MeanPooling": [7 / 3],
    "MeanStdPooling": [7 / 3, math.sqrt(14 / 9)],
    "QuantilePooling": [1.0, 1.5, 2.0, 3.0, 4.0],
    "AttentivePooling": None,
}


def test_equal_error_rate_and_min_dcf_take_scores_and_labels_and_return_value_and_threshold():
    scores, labels = np.array([0.9, 0.6, 0.5, 0.1]), np.array([1, 0, 1, 0])
    assert equal_error_rate(scores, labels)[0] == pytest.approx(0.5)
    assert min_dcf(scores, labels)[0] == pytest.approx(0.5)
    cost, threshold = min_dcf(scores, labels, p_target=0.5, c_miss=1, c_fa=10)
    assert (cost, threshold) == (pytest.approx(0.5), pytest.approx(0.9))  # type: ignore[comparison-overlap]


def test_word_error_rate_takes_references_and_hypotheses():
    assert word_error_rate(["A B C D"], ["A X C"]) == 0.5


def test_aam_softmax_loss_takes_margin_and_scale():
    cosines, labels = torch.tensor([[0.5, 0.2]]), torch.tensor([0])
    target = math.cos(math.acos(0.5) + 0.2)
    expected = math.log(1 + math.exp(30 * (0.2 - target)))
    assert AamSoftmaxLoss(margin=0.2, scale=30)(cosines, labels).item() == pytest.approx(expected)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_a_weighting_turns_losses_into_weights(name):
    settings, expected = WEIGHTINGS[name]
    weights = getattr(weighting, name)(**settings)(LOSSES)
    assert {task: weight.item() for task, weight in weights.items()} == pytest.approx(expected)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooling_turns_valid_frames_into_an_embedding(name):
    module = getattr(pooling, name)(1).eval()
    frames, num_frames = torch.tensor([[[1.0], [2.0], [4.0], [9.0]]]), torch.tensor([3])
    embedding = module(frames, num_frames)
    assert embedding.shape == (1, module.out_dim)
    if POOLINGS[name] is not None:
        assert embedding[0].tolist() == pytest.approx(POOLINGS[name])


@pytest.mark.parametrize("network", [SpeechNetwork, SpeakerNetwork, MultiTaskNetwork])
def test_a_network_takes_waveforms_and_their_numbers_of_samples(network):
    assert list(inspect.signature(network.forward).parameters)[1:3] == ["waveforms", "num_samples"]


def test_dynamic_batches_keep_longest_times_count_within_a_bound():
    batches = list(
        dynamic_batches(
            [1, 2, 3, 4, 5], max_num_samples=6, max_queue_size=10, length=int, rng=Random(0)
        )
    )
    assert sorted(sample for batch in batches for sample in batch) == [1, 2, 3, 4, 5]
    assert all(len(batch) * max(batch) <= 6 for batch in batches)


def test_tri_stage_rises_stays_and_falls():
    factors = [
        tri_stage(
            step,
            num_steps=100,
            lr=1e-4,
            initial_lr=1e-6,
            final_lr=1e-5,
            warmup_fraction=0.1,
            constant_fraction=0.4,
        )
        for step in (0, 5, 10, 50, 75, 100)
    ]
    assert factors == pytest.approx([0.01, 0.505, 1, 1, math.sqrt(0.1), 0.1])
