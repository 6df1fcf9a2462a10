import math

import pytest
import torch

from w2v2_mt.losses.cross_entropy import CrossEntropyLoss


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
