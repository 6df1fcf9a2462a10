"""Both tasks of a step in one pass, against one pass for each.

The networks are in float64; the losses are computed in float32, which bounds the differences.
"""

from dataclasses import replace

import pytest
import torch

from tests.helpers.joint_training import METHODS, fit, noise_batch, small_multi_task
from tests.helpers.small_networks import save_architecture, sharing_combinations
from w2v2_mt.models.sharing import SHARING_WAYS

SHARING = sharing_combinations(0, 1, 2, len(SHARING_WAYS.names))
BATCH = noise_batch(range(5))


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "large", num_hidden_layers=2)


def two_tasks(architecture, *, scale_method=None, **settings):
    """Return a task that passes the batches one by one, and one that packs them."""
    settings = {"num_shared_transformers": 1, **settings}
    tasks = []
    for packs in (False, True):
        task = small_multi_task(
            architecture, scale_method=scale_method, pack_frames=packs, **settings
        ).double()
        task.pack_tasks = packs
        tasks.append(task)
    return tasks


def gradients(task, batch):
    weighted, by_task = task.compute_loss(batch)
    task.backpropagate(weighted.loss, weighted)
    losses = {name: result.loss for name, result in by_task.items()}
    return losses, {name: each.grad for name, each in task.named_parameters()}


def check_equal_steps(tasks, batch):
    (apart, of_apart), (packed, of_packed) = (gradients(task, batch) for task in tasks)
    torch.testing.assert_close(packed, apart, atol=1e-6, rtol=1e-5)
    for name, gradient in of_apart.items():
        assert (of_packed[name] is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(of_packed[name], gradient, atol=1e-6, rtol=1e-5, msg=name)


@pytest.fixture
def batch():
    return {task: replace(each, waveforms=each.waveforms.double()) for task, each in BATCH.items()}


@pytest.mark.parametrize("no_grad", [True, False])
@pytest.mark.parametrize("sharing", SHARING)
def test_losses_and_gradients_are_those_of_two_passes(architecture, batch, sharing, no_grad):
    settings = {**SHARING[sharing], "enable_ctc_pool_no_grad": no_grad}
    check_equal_steps(two_tasks(architecture, **settings), batch)


@pytest.mark.parametrize("method", METHODS)
def test_each_weighting_has_the_gradients_of_two_passes(architecture, batch, method):
    check_equal_steps(two_tasks(architecture, scale_method=method), batch)


@pytest.mark.parametrize(
    "settings",
    [
        {"stat_pooling_type": "first+cls+learnable"},
        {"wav2vec_initially_frozen": True},
        {"use_gradient_checkpointing": True},
    ],
    ids=str,
)
def test_class_tokens_and_frozen_and_recomputed_parts_are_shared(architecture, batch, settings):
    check_equal_steps(two_tasks(architecture, **settings), batch)


def test_a_branch_computes_the_frames_of_its_own_task_only(architecture):
    _, task = two_tasks(architecture, use_multi_branch_encoder=True)
    branches, num_frames = task.network.trunk.encoder.branches, {}
    for name, branch in branches.items():
        branch.register_forward_pre_hook(
            lambda branch, inputs, name=name: num_frames.update({name: inputs[0].shape[1]})
        )
    task.float().compute_loss(BATCH)
    # 18 frames of 6,000 samples and 12 of 4,000.
    assert num_frames == {"speech": 5 * 18, "speaker": 5 * 12}


def test_both_train_to_the_same_weights(architecture, tmp_path):
    batches = [noise_batch(range(start, start + 4)) for start in (0, 4, 8)]
    states = []
    for packs in (False, True):
        task = small_multi_task(architecture, scale_method="uncertainty", pack_frames=packs)
        task.pack_tasks = packs
        fit(task, batches, folder=tmp_path)
        states.append(task.state_dict())
    torch.testing.assert_close(*states, atol=1e-5, rtol=1e-5)
