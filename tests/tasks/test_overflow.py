"""One batch that overflows in 16 bits costs one step, whatever the weighting."""

import pytest
import torch
from small_networks import save_architecture, small_multi_task_network

from tests.tasks.joint_training import METHODS, noise_batch, small_multi_task_loss

NUM_STEPS, OVERFLOWING_STEP = 6, 2
FIRST_SCALE = 1024.0


@pytest.mark.parametrize("scale_method", METHODS)
def test_an_overflow_skips_one_step_and_leaves_the_weights_finite(tmp_path, scale_method):
    torch.manual_seed(1)
    architecture = save_architecture(str(tmp_path), "large", num_hidden_layers=2)
    network, loss = small_multi_task_network(architecture), small_multi_task_loss(scale_method)
    optimiser = torch.optim.SGD([*network.parameters(), *loss.parameters()], lr=1e-4)
    scaler = torch.amp.GradScaler("cpu", init_scale=FIRST_SCALE, growth_interval=100)
    was_changed = []
    for step in range(NUM_STEPS):
        batch = noise_batch(range(2 * step, 2 * step + 2))
        speech, speaker = batch["speech"], batch["speaker"]
        before = network.speech_head.linear.weight.detach().clone()
        optimiser.zero_grad()
        letters = network.speech(speech.waveforms, speech.num_samples)
        speakers = network.speaker(speaker.waveforms, speaker.num_samples)
        result = loss(
            letters.logits * (torch.inf if step == OVERFLOWING_STEP else 1.0),
            letters.num_frames,
            speech.letters,
            speech.num_letters,
            speakers.logits,
            speaker.speaker_indices,
        )
        scaled = scaler.scale(result.loss)
        if loss.needs_gradients_apart:
            loss.backward_apart(
                scaled,
                result,
                shared=network.shared_parameters(),
                others=network.unshared_parameters(),
            )
        else:
            scaled.backward()
        scaler.step(optimiser)
        scaler.update()
        was_changed.append(not torch.equal(before, network.speech_head.linear.weight))
        if step != OVERFLOWING_STEP:
            assert all(weight.isfinite() for weight in result.weights.values())
    assert was_changed == [step != OVERFLOWING_STEP for step in range(NUM_STEPS)]
    assert scaler.get_scale() == FIRST_SCALE / 2
