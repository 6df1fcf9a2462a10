"""One batch that overflows in 16 bits costs one step, whatever the weighting."""

import pytest
import torch

from tests.helpers.joint_training import METHODS, noise_batch, small_multi_task
from tests.helpers.small_networks import save_architecture

NUM_STEPS, OVERFLOWING_STEP = 6, 2
FIRST_SCALE = 1024.0


@pytest.mark.parametrize("scale_method", METHODS)
def test_an_overflow_skips_one_step_and_leaves_the_weights_finite(tmp_path, scale_method):
    architecture = save_architecture(str(tmp_path), "large", num_hidden_layers=2)
    task = small_multi_task(architecture, scale_method=scale_method)
    speech_layer = task.network.speech_head.linear
    factor = torch.tensor(1.0)
    speech_layer.register_forward_hook(lambda _module, _inputs, logits: factor * logits)
    optimizer = torch.optim.SGD(task.parameters(), lr=1e-4)
    scaler = torch.amp.GradScaler("cpu", init_scale=FIRST_SCALE, growth_interval=100)  # type: ignore[attr-defined]
    was_changed = []
    for step in range(NUM_STEPS):
        factor.fill_(torch.inf if step == OVERFLOWING_STEP else 1.0)
        before = speech_layer.weight.detach().clone()
        optimizer.zero_grad()
        weighted, _ = task.compute_loss(noise_batch(range(2 * step, 2 * step + 2)))
        task.backpropagate(scaler.scale(weighted.loss), weighted)
        scaler.step(optimizer)
        scaler.update()
        was_changed.append(not torch.equal(before, speech_layer.weight))
        if step != OVERFLOWING_STEP:
            assert all(weight.isfinite() for weight in weighted.weights.values())
    assert was_changed == [step != OVERFLOWING_STEP for step in range(NUM_STEPS)]
    assert scaler.get_scale() == FIRST_SCALE / 2
