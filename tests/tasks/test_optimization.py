import pytest
import torch

from w2v2_mt.losses.weighting import EqualWeighting, UncertaintyWeighting
from w2v2_mt.optim.optimizers import Adam, Sgd
from w2v2_mt.optim.schedules import TriStage
from w2v2_mt.tasks.optimization import OptimizationPlan

ADAM = Adam(lr=0.1, betas=(0.9, 0.99), eps=1e-8, weight_decay=0.5).build
SGD = Sgd(lr=0.1, momentum=0.0, weight_decay=0.5).build


def ten_steps(optimizer):
    """Up from a tenth of the peak, at the peak, down to a hundredth of it."""
    return OptimizationPlan(
        optimizer=optimizer,
        schedule=TriStage(
            initial_lr=0.01, final_lr=0.001, warmup_fraction=0.2, constant_fraction=0.4
        ),
        num_steps=10,
        monitor="val_score",
        num_batches_between_validations=1,
    )


@pytest.fixture
def network():
    """A trained layer and a frozen one."""
    return torch.nn.ModuleList([torch.nn.Linear(2, 1), torch.nn.Linear(2, 1).requires_grad_(False)])


@pytest.mark.parametrize("optimizer", [ADAM, SGD], ids=["adam", "sgd"])
def test_loss_weights_follow_the_schedule_from_a_peak_of_their_own_and_do_not_decay(
    network, optimizer
):
    weighting = UncertaintyWeighting(["speech", "speaker"], weight_lr=0.004)
    configured = ten_steps(optimizer).configure(network, weighting)
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    of_network, of_weights = optimizer.param_groups
    assert of_network["params"] == list(network[0].parameters())
    assert of_weights["params"] == [weighting.log_variances]
    assert (of_network["weight_decay"], of_weights["weight_decay"]) == (0.5, 0)
    rates = []
    for _ in range(11):
        rates.append((of_network["lr"], of_weights["lr"]))
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx((0.01, 0.0004))
    assert rates[1] == pytest.approx((0.055, 0.0022))
    assert rates[4] == pytest.approx((0.1, 0.004))
    assert rates[10] == pytest.approx((0.001, 0.00004))


def test_a_weighting_without_parameters_has_no_group(network):
    (group,) = ten_steps(ADAM).configure(network, EqualWeighting())["optimizer"].param_groups
    assert group["params"] == list(network[0].parameters())


def test_parameters_of_a_weighting_without_learning_rate_have_that_of_the_network(network):
    weighting = UncertaintyWeighting(["speech"], weight_lr=0.004)
    weighting.weight_lr = None
    configured = ten_steps(ADAM).configure(network, weighting)
    of_network, of_weights = configured["optimizer"].param_groups
    assert of_weights["initial_lr"] == of_network["initial_lr"] == 0.1
