"""Every way of sharing x pooling x upstream x weighting: it trains, or is refused with a sentence.

Each combination takes two steps with finite gradients in exactly the parameters that should have
them, is saved and strictly loaded, answers as before after that, and ignores padding.
"""

import copy
import itertools
from collections.abc import Iterator
from io import BytesIO
from typing import get_args

import pytest
import torch
from small_networks import UPSTREAMS, save_architecture, small_multi_task_network
from torch import Tensor

from tests.tasks.joint_training import METHODS, noise_batch, small_multi_task_loss
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.models.networks import MultiTaskNetwork
from w2v2_mt.models.pooling import PoolingName

POOLINGS = get_args(PoolingName)
GUIDABLE = ("mean", "mean+std")
SHARING = {
    "branched": {"use_multi_branch_encoder": True, "num_shared_transformers": 1},
    "split": {"num_speaker_dimensions": 6},
    "guided": {"enable_ctc_pool_speaker_embedding": True},
}
"""What can be combined with each other."""
SHARINGS = [
    names for size in range(len(SHARING) + 1) for names in itertools.combinations(SHARING, size)
]
KINDS = [kind for kind in UPSTREAMS if kind != "hubert-without-norm"]

NUM_COMBINATIONS = 8 * 11 * 7 * 8
"""Ways of sharing x poolings x upstreams x weightings, null among them."""
NUM_REFUSED = 4 * 9 * 7 * 8
"""The same of what is guided by letters, with the poolings that letters cannot guide."""

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
    "conv_dim": [8, 8, 8],
    "conv_kernel": [10, 4, 4],
    "conv_stride": [10, 8, 4],
    "num_conv_pos_embedding_groups": 2,
}
NUM_SAMPLES = torch.tensor([5_000, 3_000])


def settings_of(sharing: tuple[str, ...]) -> dict[str, object]:
    return {key: value for name in sharing for key, value in SHARING[name].items()}


def is_refused(sharing: tuple[str, ...], pooling: str) -> bool:
    return "guided" in sharing and pooling not in GUIDABLE


def answers(network: MultiTaskNetwork, waveforms: Tensor, num_samples: Tensor) -> Iterator[Tensor]:
    """In eval mode: letters and embeddings of the last utterance, real frames only."""
    network.eval()
    with torch.no_grad():
        output = network(waveforms, num_samples)
    yield output.speech.logits[-1, : output.speech.num_frames[-1]]
    yield output.speaker.embeddings[-1]
    yield output.speaker.logits[-1]


def trained_names(network: MultiTaskNetwork) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


def check_each_task_trains_its_own(network: MultiTaskNetwork) -> None:
    """A batch of one task reaches what is shared and what is its own, and nothing of the other."""
    names = {name for name, _ in network.named_parameters()}
    for task, other in (("speech", "speaker"), ("speaker", "speech")):
        network.zero_grad()
        logits = getattr(network, task)(torch.randn(2, 5_000), NUM_SAMPLES).logits
        logits.square().mean().backward()
        of_the_other = {
            name
            for name in names
            if name.startswith((f"{other}_head.", f"trunk.encoder.branches.{other}."))
        }
        assert trained_names(network) == names - of_the_other
    network.zero_grad()


def take_two_steps(network: MultiTaskNetwork, loss: MultiTaskLoss) -> None:
    network.train()
    optimiser = torch.optim.Adam([*network.parameters(), *loss.parameters()], lr=1e-3)
    for numbers in (range(2), range(2, 4)):
        batch = noise_batch(numbers)
        speech, speaker = batch["speech"], batch["speaker"]
        optimiser.zero_grad()
        letters = network.speech(speech.waveforms, speech.num_samples)
        speakers = network.speaker(speaker.waveforms, speaker.num_samples)
        result = loss(
            letters.logits,
            letters.num_frames,
            speech.letters,
            speech.num_letters,
            speakers.logits,
            speaker.speaker_indices,
        )
        if loss.needs_gradients_apart:
            loss.backward_apart(
                result.loss,
                result,
                shared=network.shared_parameters(),
                others=network.unshared_parameters(),
            )
        else:
            result.loss.backward()
        for name, parameter in itertools.chain(network.named_parameters(), loss.named_parameters()):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimiser.step()


def check_padding_is_ignored(network: MultiTaskNetwork) -> None:
    waveforms = torch.randn(2, 5_000)
    waveforms[1, 3_000:] = 0
    padded = torch.nn.functional.pad(waveforms, (0, 7_000))
    together = answers(network, padded, NUM_SAMPLES)
    alone = answers(network, waveforms[1:, :3_000], NUM_SAMPLES[1:])
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=0)


def check_saved_and_loaded(
    trained: tuple[MultiTaskNetwork, MultiTaskLoss], new: tuple[MultiTaskNetwork, MultiTaskLoss]
) -> None:
    for module, other in zip(trained, new, strict=True):
        file = BytesIO()
        torch.save(module.state_dict(), file)
        file.seek(0)
        other.load_state_dict(torch.load(file, weights_only=True), strict=True)
    waveforms = torch.randn(2, 5_000)
    before = answers(trained[0], waveforms, NUM_SAMPLES)
    for one, other in zip(before, answers(new[0], waveforms, NUM_SAMPLES), strict=True):
        assert torch.equal(one, other)
    losses = {"speech": torch.tensor(3.0), "speaker": torch.tensor(5.0)}
    weights = [loss.eval().weighting(losses) for loss in (trained[1], new[1])]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda names: "+".join(names) or "plain")
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_trains_or_is_refused(tmp_path, kind, sharing):
    architecture = save_architecture(str(tmp_path), kind, **TINY)
    num_trained = num_refused = 0
    for pooling in POOLINGS:
        settings = {**settings_of(sharing), "stat_pooling_type": pooling}
        if is_refused(sharing, pooling):
            with pytest.raises(ValueError, match="cannot be guided by letters; choose one of"):
                small_multi_task_network(architecture, **settings)
            num_refused += len(METHODS)
            continue
        torch.manual_seed(1)
        untrained = small_multi_task_network(architecture, **settings)
        check_each_task_trains_its_own(untrained)
        for method in METHODS:
            network = copy.deepcopy(untrained)
            loss = small_multi_task_loss(method)
            take_two_steps(network, loss)
            check_padding_is_ignored(network)
            new = copy.deepcopy(untrained), small_multi_task_loss(method)
            check_saved_and_loaded((network, loss), new)
            num_trained += 1
    assert num_trained + num_refused == len(POOLINGS) * len(METHODS)


def test_the_combinations_are_all_there():
    combinations = list(itertools.product(SHARINGS, POOLINGS, KINDS, METHODS))
    assert len(combinations) == NUM_COMBINATIONS
    assert sum(is_refused(sharing, pooling) for sharing, pooling, _, _ in combinations) == (
        NUM_REFUSED
    )
