import math

import pytest
import torch

from tests.helpers.small_networks import (
    save_architecture,
    small_multi_task_network,
    small_speech_network,
)
from w2v2_mt.core.samples import TokenStatistics
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.models.heads import SMALLEST_PROBABILITY, compute_token_prior

LETTERS = "_ETAOIN"
TEXT = "NEAT TEA INTO A TENT ION AT NOON"
"""About as long as is said in the 2.4 s that its 120 frames last."""
NUM_FRAMES = 120


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


def indices(text):
    return [LETTERS.index(letter) for letter in text.replace(" ", "")]


def statistics(counts, *, num_samples, blank_index=0):
    return TokenStatistics(counts=counts, blank_index=blank_index, num_samples=num_samples)


def of_text():
    counts = [indices(TEXT).count(index) for index in range(len(LETTERS))]
    return statistics(counts, num_samples=NUM_FRAMES * 320)


def test_a_token_is_one_frame_and_the_blank_the_rest():
    prior = compute_token_prior(
        statistics([0, 30, 10], num_samples=320 * 100), num_samples_per_frame=320
    )
    assert prior.tolist() == pytest.approx([0.6, 0.3, 0.1])


def test_the_blank_can_be_any_letter():
    prior = compute_token_prior(
        statistics([30, 10, 0], num_samples=320 * 100, blank_index=2), num_samples_per_frame=320
    )
    assert prior.tolist() == pytest.approx([0.3, 0.1, 0.6])


def test_an_unseen_token_has_a_small_finite_share_and_the_sum_is_one():
    prior = compute_token_prior(
        statistics([0, 30, 0, 10, 0], num_samples=320 * 100), num_samples_per_frame=320
    )
    assert prior.log().isfinite().all()
    assert prior[[2, 4]].tolist() == pytest.approx(2 * [SMALLEST_PROBABILITY])
    assert prior.sum().item() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("num_frames", [40, 39])
def test_no_frame_for_the_blank_is_refused(num_frames):
    with pytest.raises(
        ValueError, match=f"40 tokens in {num_frames} frames, .*. Set network.ctc_bias_init=zero"
    ):
        compute_token_prior(
            statistics([0, 30, 10], num_samples=320 * num_frames), num_samples_per_frame=320
        )


@pytest.mark.parametrize("build", [small_speech_network, small_multi_task_network])
def test_with_the_prior_and_zero_weights_each_frame_is_the_prior(architecture, build):
    network = build(
        architecture,
        num_tokens=len(LETTERS),
        ctc_bias_init="letter_prior",
        token_statistics=of_text,
    )
    head = network.head if build is small_speech_network else network.speech_head
    torch.nn.init.zeros_(head.linear.weight)
    frames, num_frames = torch.randn(2, 5, 32), torch.tensor([5, 5])
    probabilities = head(frames, num_frames).logits.softmax(dim=-1)
    prior = compute_token_prior(of_text(), num_samples_per_frame=320)
    torch.testing.assert_close(probabilities, prior.expand(2, 5, -1))
    assert prior[LETTERS.index("T")].item() == pytest.approx(6 / NUM_FRAMES)


@pytest.mark.parametrize("build", [small_speech_network, small_multi_task_network])
def test_otherwise_the_bias_begins_at_zero(architecture, build):
    network = build(architecture)
    head = network.head if build is small_speech_network else network.speech_head
    assert (head.linear.bias == 0).all()
    assert (head.linear.weight != 0).any()


def test_the_first_loss_is_lower_with_the_prior_than_with_zeros():
    prior = compute_token_prior(of_text(), num_samples_per_frame=320)
    tokens = torch.tensor([indices(TEXT)])
    losses = [
        CtcLoss(blank_index=0)(
            bias.expand(1, NUM_FRAMES, -1),
            torch.tensor([NUM_FRAMES]),
            tokens,
            torch.tensor([tokens.shape[1]]),
        ).loss.item()
        for bias in (torch.zeros(len(LETTERS)), prior.log())
    ]
    # Without an alignment to choose from, a frame of zeros costs log 7.
    assert losses[0] < NUM_FRAMES * math.log(7) / tokens.shape[1]
    assert losses[1] < 0.7 * losses[0]


@pytest.mark.parametrize("build", [small_speech_network, small_multi_task_network])
def test_a_pretrained_head_keeps_its_bias(architecture, build):
    with pytest.raises(
        ValueError, match=r"ctc_bias_init \(letter_prior\) would replace the bias of"
    ):
        build(
            architecture,
            num_tokens=len(LETTERS),
            ctc_bias_init="letter_prior",
            token_statistics=of_text,
            speech_head_huggingface_id="some/model",
        )
