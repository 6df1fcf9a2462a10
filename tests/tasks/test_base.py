from functools import partial

import pytest
import torch

from w2v2_mt.optim.algorithms import adam, sgd
from w2v2_mt.optim.schedules import TriStage
from w2v2_mt.tasks.base import Optimisation

ADAM = partial(adam, lr=0.1, betas=[0.9, 0.99], eps=1e-8, weight_decay=0.5)
SGD = partial(sgd, lr=0.1, momentum=0.0, weight_decay=0.5)


def optimisation(algorithm):
    """Ten steps: up from a tenth of the peak, at the peak, down to a hundredth of it."""
    return Optimisation(
        algorithm=algorithm,
        schedule=TriStage(
            initial_lr=0.01, final_lr=0.001, warmup_fraction=0.2, constant_fraction=0.4
        ),
        num_steps=10,
        monitor="val_score",
        num_batches_between_validations=1,
    )


class Weighted(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = torch.nn.Linear(2, 1)
        self.frozen = torch.nn.Linear(2, 1).requires_grad_(False)
        self.weights = torch.nn.Parameter(torch.zeros(2))


@pytest.mark.parametrize("algorithm", [ADAM, SGD], ids=["adam", "sgd"])
def test_loss_weights_follow_the_schedule_from_a_peak_of_their_own_and_do_not_decay(algorithm):
    task = Weighted()
    configured = optimisation(algorithm).configure(
        task, loss_weights=[task.weights], weight_lr=0.004
    )
    optimiser, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    of_network, of_weights = optimiser.param_groups
    assert of_network["params"] == list(task.network.parameters())
    assert of_weights["params"] == [task.weights]
    assert (of_network["weight_decay"], of_weights["weight_decay"]) == (0.5, 0)
    rates = []
    for _ in range(11):
        rates.append((of_network["lr"], of_weights["lr"]))
        optimiser.step()
        scheduler.step()
    assert rates[0] == pytest.approx((0.01, 0.0004))
    assert rates[1] == pytest.approx((0.055, 0.0022))
    assert rates[4] == pytest.approx((0.1, 0.004))
    assert rates[10] == pytest.approx((0.001, 0.00004))


def test_without_loss_weights_all_parameters_are_alike():
    task = Weighted()
    (group,) = optimisation(ADAM).configure(task)["optimizer"].param_groups
    assert group["params"] == [task.weights, *task.network.parameters()]
