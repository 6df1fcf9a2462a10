import pytest
import torch

from tests.helpers.small_networks import save_architecture, small_speaker_network
from w2v2_mt.models.trunk import FramePermutation

NUM_SAMPLES = torch.tensor([8_000, 5_000])
NUM_FRAMES = torch.tensor([9, 5, 0, 1])


@pytest.fixture
def frames():
    """Each value of its own; behind the real frames as well."""
    return torch.arange(4 * 9 * 2.0).reshape(4, 9, 2)


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


@pytest.fixture
def waveforms():
    waveforms = torch.randn(2, 8_000, generator=torch.Generator().manual_seed(2))
    waveforms[1, 5_000:] = 0
    return waveforms


def small_network(architecture, mode, **changes):
    torch.manual_seed(1)
    return small_speaker_network(architecture, random_permutation_mode=mode, **changes)


def embeddings(network, waveforms, num_samples=NUM_SAMPLES):
    with torch.no_grad():
        return network(waveforms, num_samples).embeddings


@pytest.mark.parametrize("training", [True, False])
def test_real_frames_change_places_and_padding_stays(frames, training):
    torch.manual_seed(0)
    permuted = FramePermutation(num_class_tokens=0).train(training)(frames, NUM_FRAMES)
    for row, length in enumerate(NUM_FRAMES.tolist()):
        before, after = frames[row, :length], permuted[row, :length]
        assert sorted(after.tolist()) == before.tolist()
        assert torch.equal(permuted[row, length:], frames[row, length:])
        assert length < 5 or not torch.equal(after, before)


@pytest.mark.parametrize("training", [True, False])
def test_a_class_token_stays_first(frames, training):
    permutation = FramePermutation(num_class_tokens=1).train(training)
    for seed in range(20):
        torch.manual_seed(seed)
        assert torch.equal(permutation(frames, NUM_FRAMES)[:, 0], frames[:, 0])


def test_in_training_every_order_is_as_likely_and_rows_differ():
    torch.manual_seed(0)
    frames = torch.tensor([0.0, 1.0, 2.0]).reshape(1, 3, 1).repeat(6_000, 1, 1)
    permuted = FramePermutation(num_class_tokens=0)(frames, torch.full((6_000,), 3))
    orders, counts = permuted.squeeze(2).unique(dim=0, return_counts=True)
    assert len(orders) == 6
    assert (counts - 1_000).abs().max() < 120  # four standard deviations


def test_in_eval_mode_the_order_depends_on_the_number_of_frames_alone(frames):
    permutation = FramePermutation(num_class_tokens=0).eval()
    permuted = permutation(frames, NUM_FRAMES)
    torch.manual_seed(5)
    assert torch.equal(permutation(frames, NUM_FRAMES), permuted)
    for row, length in enumerate(NUM_FRAMES.tolist()):
        alone = permutation(frames[row : row + 1, :length], NUM_FRAMES[row : row + 1])
        assert torch.equal(alone[0], permuted[row, :length])
    padded = permutation(torch.nn.functional.pad(frames, (0, 0, 0, 40)), NUM_FRAMES)
    assert torch.equal(padded[:, :9], permuted)


@pytest.mark.parametrize("training", [True, False])
def test_a_permutation_after_the_encoder_does_not_change_the_mean(
    architecture, waveforms, training
):
    expected = embeddings(small_network(architecture, None).train(training), waveforms)
    permuted = embeddings(small_network(architecture, "after").train(training), waveforms)
    torch.testing.assert_close(permuted, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("mode", "pooling"), [("after", "last"), ("before", "mean")])
def test_where_the_order_counts_the_embedding_changes(architecture, waveforms, mode, pooling):
    plain = small_network(architecture, None, stat_pooling_type=pooling).eval()
    permuted = small_network(architecture, mode, stat_pooling_type=pooling).eval()
    difference = embeddings(permuted, waveforms) - embeddings(plain, waveforms)
    assert difference.abs().amax(dim=1).min() > 1e-3


def test_before_the_encoder_is_between_projection_and_class_token(architecture, waveforms):
    network = small_network(architecture, "before", stat_pooling_type="first+cls").eval()
    with torch.no_grad():
        projected, num_frames = network.trunk.backbone(waveforms, NUM_SAMPLES)
        shuffled = network.trunk.permutation(projected, num_frames)
        encoded, _ = network.trunk.encoder(shuffled, num_frames, tasks=["speaker"], keep_all=False)
    torch.testing.assert_close(embeddings(network, waveforms), encoded["speaker"][-1][:, 0])


def test_a_class_token_is_read_after_a_permuted_encoder(architecture, waveforms):
    pooling = "first+cls"
    plain = small_network(architecture, None, stat_pooling_type=pooling).eval()
    permuted = small_network(architecture, "after", stat_pooling_type=pooling).eval()
    assert torch.equal(embeddings(permuted, waveforms), embeddings(plain, waveforms))


@pytest.mark.parametrize("mode", ["before", "after"])
def test_neither_padding_nor_other_utterances_change_an_answer(architecture, waveforms, mode):
    network = small_network(architecture, mode, stat_pooling_type="last").eval()
    alone = embeddings(network, waveforms[1:, :5_000], NUM_SAMPLES[1:])
    padded = torch.nn.functional.pad(waveforms, (0, 20_000))
    torch.testing.assert_close(embeddings(network, padded)[1], alone[0], atol=1e-4, rtol=0)


def test_a_frozen_trunk_still_draws_new_permutations(architecture, waveforms):
    network = small_network(architecture, "before", wav2vec_initially_frozen=True)
    assert not torch.equal(embeddings(network, waveforms), embeddings(network, waveforms))
    network.eval()
    assert torch.equal(embeddings(network, waveforms), embeddings(network, waveforms))


def test_in_training_no_value_is_read_back_from_the_device():
    # Tensors on "meta" have no values: asking for one is an error there.
    frames = torch.empty(2, 9, 4, device="meta", requires_grad=True)
    num_frames = torch.empty(2, dtype=torch.int64, device="meta")
    FramePermutation(num_class_tokens=1)(frames, num_frames).mean().backward()
    assert frames.grad.shape == (2, 9, 4)
