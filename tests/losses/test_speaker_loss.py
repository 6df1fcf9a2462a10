import math

import pytest
import torch

from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss
from w2v2_mt.losses.speaker_loss import SPEAKER_LOSSES, CrossEntropyLoss


def test_it_is_the_mean_surprise_at_the_true_classes():
    logits = torch.tensor([[0.5, 0.25, 0.25], [0.1, 0.1, 0.8]]).log()
    loss = CrossEntropyLoss()(logits, torch.tensor([1, 2]))
    assert loss.item() == pytest.approx(-(math.log(0.25) + math.log(0.8)) / 2, rel=1e-6)


def test_half_precision_logits_give_the_loss_of_float32():
    logits = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0)).half()
    labels = torch.tensor([0, 1, 2, 999])
    loss = CrossEntropyLoss()(logits, labels)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, CrossEntropyLoss()(logits.float(), labels))


def test_the_losses_are_registered():
    assert dict(SPEAKER_LOSSES.items()) == {
        "aam_softmax": AamSoftmaxLoss,
        "cross_entropy": CrossEntropyLoss,
    }


@pytest.mark.parametrize("name", SPEAKER_LOSSES.names)
def test_every_registered_loss_states_its_input_and_teaches_the_true_class(name):
    loss_class = SPEAKER_LOSSES.find(name)
    assert isinstance(loss_class.takes_cosines, bool)
    loss = loss_class(margin=0.2, scale=30.0) if loss_class.takes_cosines else loss_class()
    logits = torch.rand(4, 9, generator=torch.Generator().manual_seed(0)) * 2 - 1
    logits.requires_grad_()
    loss.set_step(5)
    loss(logits, torch.tensor([0, 3, 8, 3])).backward()
    is_target = torch.nn.functional.one_hot(torch.tensor([0, 3, 8, 3]), 9).bool()
    assert (logits.grad[is_target] < 0).all()
    assert (logits.grad[~is_target] >= 0).all()
