"""Every way of sharing, pooling, upstream and weighting: it trains, or is refused with a sentence.

Each combination takes two steps with finite gradients in exactly the parameters that should have
them, is saved and strictly loaded, answers as before after that, and ignores padding.
"""

import copy
import itertools
from collections.abc import Iterator
from io import BytesIO

import pytest
import torch
from torch import Tensor

from tests.helpers.joint_training import (
    METHODS,
    noise_batch,
    small_multi_task_loss,
    small_training_task,
)
from tests.helpers.small_networks import (
    UPSTREAMS,
    save_architecture,
    small_config,
    small_multi_task_network,
)
from w2v2_mt.losses.multi_task import MultiTaskLoss
from w2v2_mt.models.networks import MultiTaskNetwork
from w2v2_mt.models.pooling import POOLINGS
from w2v2_mt.models.sharing import SHARING_WAYS
from w2v2_mt.models.upstream_kinds import UPSTREAMS as UPSTREAM_KINDS

SHARING_KEYS = {
    "branched": {"use_multi_branch_encoder": True, "num_shared_transformers": 1},
    "split": {"num_speaker_dimensions": 6},
    "ctc_pool": {"enable_ctc_pool_speaker_embedding": True},
    "layer_weights": {"layer_weights": "learned"},
}
"""The settings that choose each registered way of sharing."""
SHARINGS = [
    names
    for size in range(len(SHARING_WAYS.names) + 1)
    for names in itertools.combinations(SHARING_WAYS.names, size)
]
KINDS = [kind for kind in UPSTREAMS if kind != "hubert-without-norm"]

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
    return {key: value for name in sharing for key, value in SHARING_KEYS[name].items()}  # type: ignore[attr-defined]


def is_refused(sharing: tuple[str, ...], pooling: str) -> bool:
    return "ctc_pool" in sharing and pooling not in ("mean", "mean+std")


def answers(network: MultiTaskNetwork, waveforms: Tensor, num_samples: Tensor) -> Iterator[Tensor]:
    """Yield the outputs for the last utterance in eval mode, without padding."""
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
        output = network.answer(torch.randn(2, 5_000), NUM_SAMPLES, tasks=[task])[task]
        output.logits.square().mean().backward()
        of_the_other = {
            name for name in names if name.startswith(f"{other}_head.") or f".{other}." in name
        }
        assert trained_names(network) == names - of_the_other
    network.zero_grad()


def take_two_steps(network: MultiTaskNetwork, loss: MultiTaskLoss) -> None:
    task = small_training_task(network, loss).train()
    optimizer = torch.optim.Adam(task.parameters(), lr=1e-3)
    for numbers in (range(2), range(2, 4)):
        optimizer.zero_grad()
        weighted, _ = task.compute_loss(noise_batch(numbers))
        task.backpropagate(weighted.loss, weighted)
        for name, parameter in itertools.chain(network.named_parameters(), loss.named_parameters()):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name
        optimizer.step()


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
    for one, other in zip(before, answers(new[0], waveforms, NUM_SAMPLES), strict=True):  # type: ignore[assignment]
        assert torch.equal(one, other)
    losses = {"speech": torch.tensor(3.0), "speaker": torch.tensor(5.0)}
    weights = [loss.eval().weighting(losses) for loss in (trained[1], new[1])]
    assert weights[0] == weights[1]


@pytest.mark.parametrize("sharing", SHARINGS, ids=lambda names: "+".join(names) or "plain")
@pytest.mark.parametrize("kind", KINDS)
def test_every_combination_trains_or_is_refused(tmp_path, kind, sharing):
    architecture = save_architecture(str(tmp_path), kind, **TINY)
    for index, pooling in enumerate(POOLINGS.names, start=len(sharing)):
        settings = {**settings_of(sharing), "stat_pooling_type": pooling}
        if is_refused(sharing, pooling):
            with pytest.raises(ValueError, match="cannot be guided by tokens. Choose one of"):
                small_multi_task_network(architecture, **settings)
            continue
        torch.manual_seed(1)
        untrained = small_multi_task_network(architecture, **settings)
        check_each_task_trains_its_own(untrained)
        # Half of the methods, and the others with the next pooling and the next way of sharing.
        for method in METHODS[index % 2 :: 2]:
            network = copy.deepcopy(untrained)
            loss = small_multi_task_loss(method)
            take_two_steps(network, loss)
            check_padding_is_ignored(network)
            new = copy.deepcopy(untrained), small_multi_task_loss(method)
            check_saved_and_loaded((network, loss), new)


def test_the_combinations_contain_every_registered_class():
    assert {"branched", "split", "ctc_pool", "layer_weights"} <= set(SHARING_WAYS.names)
    assert set(SHARING_KEYS) == set(SHARING_WAYS.names)
    assert {small_config(kind).model_type for kind in KINDS} == set(UPSTREAM_KINDS.names)
    contract = "first first+cls first+cls+learnable last middle random max mean mean+std quantile"
    assert {*contract.split(), "attentive"} <= set(POOLINGS.names)
