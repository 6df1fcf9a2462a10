import pytest
import torch

from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.cross_entropy import CrossEntropyLoss
from w2v2_mt.losses.ctc import CtcLoss
from w2v2_mt.losses.multi_task import MultiTaskLoss

SETTINGS = {
    "static_speech_weight": 0.2,
    "dwa_weight_sum": 2.0,
    "dwa_temperature": 1.0,
    "dwa_window": 4,
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return {
        "speech_logits": torch.randn(2, 9, 5, generator=generator).requires_grad_(),
        "num_frames": torch.tensor([9, 1]),
        "letters": torch.tensor([[1, 2, 3], [4, 4, 0]]),
        "num_letters": torch.tensor([3, 2]),
        "speaker_logits": (torch.rand(3, 7, generator=generator) * 2 - 1).requires_grad_(),
        "speaker_indices": torch.tensor([0, 6, 3]),
    }


def multi_task_loss(*, scale_method, speaker_loss):
    return MultiTaskLoss(
        ctc_loss=CtcLoss(blank_index=0),
        speaker_loss=speaker_loss,
        scale_method=scale_method,
        **SETTINGS,
    )


@pytest.mark.parametrize("scale_method", [None, "static", "min", "max", "dwa"])
@pytest.mark.parametrize(
    "speaker_loss", [AamSoftmaxLoss(margin=0.2, scale=30.0), CrossEntropyLoss()]
)
def test_it_is_the_weighted_sum_of_the_two_losses(batch, scale_method, speaker_loss):
    result = multi_task_loss(scale_method=scale_method, speaker_loss=speaker_loss)(**batch)
    speech_names = ("speech_logits", "num_frames", "letters", "num_letters")
    speech = CtcLoss(blank_index=0)(*(batch[name] for name in speech_names)).loss
    speaker = speaker_loss(batch["speaker_logits"], batch["speaker_indices"])
    torch.testing.assert_close(result.losses, {"speech": speech, "speaker": speaker})
    expected = result.weights["speech"] * speech + result.weights["speaker"] * speaker
    torch.testing.assert_close(result.loss, expected)
    assert result.num_unalignable.item() == 1


def test_equal_weights_are_halves_and_static_ones_sum_to_one(batch):
    speaker_loss = CrossEntropyLoss()
    equal = multi_task_loss(scale_method=None, speaker_loss=speaker_loss)(**batch).weights
    static = multi_task_loss(scale_method="static", speaker_loss=speaker_loss)(**batch).weights
    assert {name: weight.item() for name, weight in equal.items()} == {
        "speech": 0.5,
        "speaker": 0.5,
    }
    assert {name: weight.item() for name, weight in static.items()} == {
        "speech": pytest.approx(0.2),
        "speaker": pytest.approx(0.8),
    }


def test_the_gradient_of_a_task_is_scaled_by_its_weight_only(batch):
    # The weights of "min" depend on both losses, but no gradient may flow through them.
    result = multi_task_loss(scale_method="min", speaker_loss=CrossEntropyLoss())(**batch)
    result.loss.backward(retain_graph=True)
    (of_speech,) = torch.autograd.grad(result.losses["speech"], batch["speech_logits"])
    torch.testing.assert_close(batch["speech_logits"].grad, result.weights["speech"] * of_speech)


def test_the_state_of_the_weighting_is_saved():
    loss = multi_task_loss(scale_method="dwa", speaker_loss=CrossEntropyLoss())
    assert set(loss.state_dict()) == {"weighting.loss_window", "weighting.num_seen"}
