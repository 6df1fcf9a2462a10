"""The forward pass without padding against the padded one, with the same weights.

In float64, where the two round so little that an utterance that reaches another one, or a frame
that is lost, shows.
"""

from dataclasses import asdict

import pytest
import torch

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    save_architecture,
    sharing_combinations,
    small_multi_task_network,
    small_speaker_network,
)
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.core.registry import trusting
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.models.pooling import Pooling
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.sharing import SHARING_WAYS
from w2v2_mt.models.upstream_kinds import UpstreamKind, Wav2Vec2

NUM_SAMPLES = torch.tensor([9_000, 7_000, 7_000, 6_999, 100, 2_000])
"""Equal and different lengths, and an utterance without a frame."""

SHARING = sharing_combinations(0, 1, len(SHARING_WAYS.names))
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-9}


class AllLayersPooling(Pooling):
    """The mean over the frames and layers."""

    needs_all_layers = True

    def __init__(self, dim: int, num_layers: int):
        super().__init__(dim)

    def forward(self, frames, num_frames):
        is_valid = padding_mask(num_frames, frames.shape[-2])[..., None]
        return (frames * is_valid).sum(dim=(0, 2)) / num_frames.clamp(min=1)[:, None]


class DoublingWav2Vec2(Wav2Vec2):
    """A kind of a user, which only knows padded frames."""

    def run_layer(self, layer, frames, is_valid, bias):
        return 2 * super().run_layer(layer, frames, is_valid, bias)


@pytest.fixture(params=sorted(UPSTREAMS))
def architecture(request, tmp_path):
    return save_architecture(tmp_path, request.param)


def padded_and_packed(build, architecture, *, dtype=torch.float32, **settings):
    """Two networks with equal weights."""
    networks = []
    for packs in (False, True):
        torch.manual_seed(1)
        networks.append(build(architecture, pack_frames=packs, **settings).to(dtype))
    return networks


def waveforms(dtype=torch.float32):
    drawn = torch.randn(len(NUM_SAMPLES), 9_000, generator=torch.Generator().manual_seed(2))
    # Large values as padding, so that reading them shows.
    return torch.where(padding_mask(NUM_SAMPLES, 9_000), drawn, 100).to(dtype)


def losses(output):
    tokens = torch.tensor([[5, 6, 7], [8, 8, 9], [4, 5, 6], [7, 6, 5], [4, 4, 4], [9, 8, 7]])
    num_tokens = torch.tensor([3, 3, 2, 3, 1, 1])
    speech = output["speech"]
    ctc = CtcLoss(blank_index=0)(speech.logits, speech.num_frames, tokens, num_tokens)
    speaker = torch.nn.functional.cross_entropy(
        10 * output["speaker"].logits, torch.tensor([0, 1, 2, 3, 4, 0])
    )
    return {"speech": ctc.loss, "speaker": speaker}


def check_equal(networks, dtype, **options):
    answers = [network.answer(waveforms(dtype), NUM_SAMPLES, **options) for network in networks]
    padded, packed = answers
    bounds = {"atol": TOLERANCE[dtype], "rtol": TOLERANCE[dtype]}
    assert torch.equal(packed["speech"].num_frames, padded["speech"].num_frames)
    is_valid = padding_mask(padded["speech"].num_frames, padded["speech"].logits.shape[1])
    torch.testing.assert_close(
        packed["speech"].logits[is_valid], padded["speech"].logits[is_valid], **bounds
    )
    for name in ("embeddings", "logits"):
        ours, theirs = (getattr(answer["speaker"], name) for answer in (packed, padded))
        torch.testing.assert_close(ours, theirs, **bounds)
    of_padded, of_packed = map(losses, answers)
    torch.testing.assert_close(of_packed, of_padded, **bounds)
    if torch.is_grad_enabled():
        for each in (of_padded, of_packed):
            sum(each.values()).backward()
        check_equal_gradients(networks, **bounds)


def check_equal_gradients(networks, **bounds):
    padded, packed = (dict(network.named_parameters()) for network in networks)
    assert any(parameter.grad is not None for parameter in padded.values())
    for name, parameter in padded.items():
        assert (packed[name].grad is None) == (parameter.grad is None), name
        if parameter.grad is not None:
            torch.testing.assert_close(packed[name].grad, parameter.grad, **bounds, msg=name)


@pytest.mark.parametrize(
    ("sharing", "pooling"),
    [
        *((name, "mean+std") for name in SHARING),
        *((name, "first+cls+learnable") for name in SHARING if "ctc_pool" not in name),
    ],
)
def test_frames_losses_and_gradients_of_packed_utterances_are_those_of_padded_ones(
    architecture, sharing, pooling
):
    networks = padded_and_packed(
        small_multi_task_network,
        architecture,
        dtype=torch.float64,
        stat_pooling_type=pooling,
        **SHARING[sharing],
    )
    check_equal(networks, torch.float64)


@pytest.mark.parametrize("sharing", SHARING)
def test_in_float32_the_two_differ_by_rounding_only(architecture, sharing):
    networks = padded_and_packed(small_multi_task_network, architecture, **SHARING[sharing])
    with torch.no_grad():
        check_equal([network.eval() for network in networks], torch.float32)


def test_a_pooling_of_all_layers_reads_equal_ones(architecture):
    pooling = f"{__name__}.{AllLayersPooling.__name__}"
    with trusting("tests"):
        networks = padded_and_packed(
            small_multi_task_network,
            architecture,
            dtype=torch.float64,
            stat_pooling_type=pooling,
        )
    check_equal(networks, torch.float64)


@pytest.mark.parametrize(
    "settings",
    [
        {"use_gradient_checkpointing": True},
        {"completely_freeze_feature_extractor": True},
        {"wav2vec_initially_frozen": True, "layer_weights": "learned"},
    ],
    ids=["recomputed", "frozen convolutions", "frozen encoder"],
)
def test_frozen_and_recomputed_parts_have_equal_gradients(architecture, settings):
    networks = padded_and_packed(
        small_multi_task_network, architecture, dtype=torch.float64, **settings
    )
    check_equal(networks, torch.float64)


@pytest.mark.parametrize("sharing", SHARING)
def test_rows_of_a_task_are_the_same(architecture, sharing):
    networks = padded_and_packed(
        small_multi_task_network, architecture, dtype=torch.float64, **SHARING[sharing]
    )
    rows = {"speech": torch.tensor([0, 2, 3]), "speaker": torch.tensor([1, 3, 5])}
    results = []
    for network in networks:
        output = network.answer(waveforms(torch.float64), NUM_SAMPLES, rows=rows)
        speech = output["speech"]
        is_valid = padding_mask(speech.num_frames, speech.logits.shape[1])
        results.append([speech.logits[is_valid], output["speaker"].embeddings])
        (speech.logits[is_valid].square().sum() + output["speaker"].logits.sum()).backward()
    torch.testing.assert_close(*results, atol=1e-9, rtol=1e-9)
    check_equal_gradients(networks, atol=1e-9, rtol=1e-9)


def test_masks_are_those_of_the_padded_batch(architecture):
    masking = {"mask_time_prob": 0.5, "mask_feature_prob": 0.3}
    regularisation = Regularisation(**{**asdict(NO_REGULARISATION), **masking})
    networks = padded_and_packed(
        small_multi_task_network, architecture, dtype=torch.float64, regularisation=regularisation
    )
    answers = []
    for network in networks:
        torch.manual_seed(3)
        answers.append(network.answer(waveforms(torch.float64), NUM_SAMPLES)["speaker"].embeddings)
    torch.testing.assert_close(*answers, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("mode", ["before", "after"])
def test_shuffled_frames_are_those_of_the_padded_batch(architecture, mode):
    networks = padded_and_packed(
        small_speaker_network, architecture, dtype=torch.float64, random_permutation_mode=mode
    )
    answers = []
    for network in networks:
        torch.manual_seed(3)
        answers.append(network(waveforms(torch.float64), NUM_SAMPLES).embeddings)
    torch.testing.assert_close(*answers, atol=1e-9, rtol=1e-9)


def test_utterances_that_all_lack_a_frame_are_answered(architecture):
    networks = padded_and_packed(small_multi_task_network, architecture)
    for network in networks:
        output = network(torch.randn(2, 4_000), torch.tensor([100, 200]))
        assert output.speech.num_frames.tolist() == [0, 0]
        assert not output.speaker.embeddings.any()


def test_a_kind_of_a_user_may_override_the_padded_step_only(tmp_path):
    with trusting("tests"):
        networks = padded_and_packed(
            small_multi_task_network,
            save_architecture(tmp_path, "base"),
            dtype=torch.float64,
            upstream_kind=f"{__name__}.{DoublingWav2Vec2.__name__}",
        )
    assert networks[0].trunk.encoder.kind.run_packed_layer.__func__ is UpstreamKind.run_packed_layer
    check_equal(networks, torch.float64)
