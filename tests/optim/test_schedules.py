import math
from itertools import pairwise

import pytest
import torch

from w2v2_mt.optim.schedules import (
    Constant,
    Cyclic,
    ExponentialDecay,
    OneCycle,
    ReduceOnPlateau,
    TriStage,
    tri_stage,
)

TRI_STAGE = {
    "initial_lr": 5e-6,
    "final_lr": 5e-6,
    "warmup_fraction": 0.1,
    "constant_fraction": 0.4,
}
ONE_CYCLE = {"initial_lr": 4e-6, "final_lr": 1e-9, "warmup_fraction": 0.3}

schedules = pytest.mark.parametrize(
    "schedule",
    [
        Constant(),
        TriStage(**TRI_STAGE),
        ExponentialDecay(final_lr=5e-6),
        OneCycle(**ONE_CYCLE),
        Cyclic(lowest_lr=5e-6, num_cycles=5),
    ],
    ids=lambda schedule: type(schedule).__name__,
)


def optimizer_with_lr(lr):
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)


class TestTriStage:
    @pytest.mark.parametrize(
        ("step", "lr"),
        [
            (0, 5e-6),
            (5_000, (5e-6 + 1e-4) / 2),
            (9_999, 5e-6 + 0.9999 * 9.5e-5),
            (10_000, 1e-4),
            (30_000, 1e-4),
            (50_000, 1e-4),
            (75_000, math.sqrt(1e-4 * 5e-6)),
            (100_000, 5e-6),
            (123_456, 5e-6),
        ],
    )
    def test_at_its_corners(self, step, lr):
        factor = tri_stage(step, num_steps=100_000, lr=1e-4, **TRI_STAGE)
        assert factor * 1e-4 == pytest.approx(lr, rel=1e-9)

    def test_it_has_no_jumps(self):
        factors = [tri_stage(step, num_steps=1000, lr=1e-4, **TRI_STAGE) for step in range(1001)]
        changes = [abs(b - a) for a, b in pairwise(factors)]
        assert max(changes) < 0.0096  # the slope of the warm-up: 0.95 over 100 steps

    def test_end_points_above_the_peak_are_lowered_to_it(self):
        factors = [tri_stage(step, num_steps=100, lr=1e-6, **TRI_STAGE) for step in range(101)]
        assert factors == [1.0] * 101

    @pytest.mark.parametrize(
        ("warmup_fraction", "constant_fraction", "factors"),
        [
            (0.0, 0.0, [1, 0.1, 0.01]),
            (1.0, 0.0, [0.01, 0.505, 1]),
            (0.0, 1.0, [1, 1, 1]),
            (0.5, 0.5, [0.01, 1, 1]),
        ],
    )
    def test_a_stage_may_take_no_step(self, warmup_fraction, constant_fraction, factors):
        settings = {
            "warmup_fraction": warmup_fraction,
            "constant_fraction": constant_fraction,
            "initial_lr": 1e-2,
            "final_lr": 1e-2,
        }
        assert [tri_stage(step, num_steps=2, lr=1.0, **settings) for step in range(3)] == (
            pytest.approx(factors)
        )

    def test_stages_longer_than_the_run_are_refused(self):
        settings = {**TRI_STAGE, "warmup_fraction": 0.7}
        sentence = r"warmup_fraction \(0.7\) plus constant_fraction \(0.4\) must be at most 1"
        with pytest.raises(ValueError, match=sentence):
            TriStage(**settings)


class TestExponentialDecay:
    @pytest.mark.parametrize(
        ("step", "lr"), [(0, 1e-3), (1, 1e-4), (2, 1e-5), (3, 1e-6), (4, 1e-6)]
    )
    def test_at_its_corners(self, step, lr):
        assert ExponentialDecay(final_lr=1e-6).factor(
            step, num_steps=3, peak_lr=1e-3
        ) * 1e-3 == pytest.approx(lr)

    def test_the_end_point_never_exceeds_the_peak(self):
        assert ExponentialDecay(final_lr=1e-3).factor(10, num_steps=10, peak_lr=1e-6) == 1


class TestOneCycle:
    @pytest.mark.parametrize(
        ("step", "lr"),
        [(0, 4e-6), (15, (4e-6 + 1e-4) / 2), (30, 1e-4), (65, (1e-4 + 1e-9) / 2), (100, 1e-9)],
    )
    def test_at_its_corners(self, step, lr):
        factor = OneCycle(**ONE_CYCLE).factor(step, num_steps=100, peak_lr=1e-4)
        assert factor * 1e-4 == pytest.approx(lr)

    def test_it_agrees_with_the_scheduler_of_torch(self):
        optimizer = optimizer_with_lr(1e-4)
        # That one reaches its peak and its end one step early: its steps are counted from 1.
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=1e-4, total_steps=101, pct_start=31 / 101,
            div_factor=25, final_div_factor=4000, cycle_momentum=False,
        )  # fmt: skip
        for step in range(101):
            factor = OneCycle(**ONE_CYCLE).factor(step, num_steps=100, peak_lr=1e-4)
            assert factor * 1e-4 == pytest.approx(scheduler.get_last_lr()[0])
            optimizer.step()
            if step < 100:
                scheduler.step()

    @pytest.mark.parametrize(("warmup_fraction", "first", "last"), [(0.0, 1, 0.2), (1.0, 0.1, 1)])
    def test_a_side_may_take_no_step(self, warmup_fraction, first, last):
        settings = {"initial_lr": 0.1, "final_lr": 0.2, "warmup_fraction": warmup_fraction}
        schedule = OneCycle(**settings)
        assert schedule.factor(0, num_steps=4, peak_lr=1.0) == pytest.approx(first)
        assert schedule.factor(4, num_steps=4, peak_lr=1.0) == pytest.approx(last)


class TestCyclic:
    @pytest.mark.parametrize(
        ("step", "factor"),
        [(0, 0.1), (5, 0.55), (10, 1), (15, 0.55), (20, 0.1), (30, 1), (40, 0.1), (50, 0.1)],
    )
    def test_at_its_corners(self, step, factor):
        schedule = Cyclic(lowest_lr=0.1, num_cycles=2)
        assert schedule.factor(step, num_steps=40, peak_lr=1.0) == pytest.approx(factor)

    def test_it_agrees_with_the_scheduler_of_torch(self):
        optimizer = optimizer_with_lr(1e-5)
        scheduler = torch.optim.lr_scheduler.CyclicLR(
            optimizer, base_lr=1e-5, max_lr=1e-4, step_size_up=15, cycle_momentum=False
        )
        for step in range(91):
            factor = Cyclic(lowest_lr=1e-5, num_cycles=3).factor(step, num_steps=90, peak_lr=1e-4)
            assert factor * 1e-4 == pytest.approx(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()


def test_constant_is_the_peak_at_every_step():
    assert [Constant().factor(step, num_steps=9, peak_lr=1e-4) for step in (0, 9)] == [1, 1]


@schedules
@pytest.mark.parametrize("peak_lr", [1e-7, 1e-4, 1.0])
def test_no_schedule_leaves_the_range_up_to_its_peak(schedule, peak_lr):
    factors = [schedule.factor(step, num_steps=200, peak_lr=peak_lr) for step in range(-1, 202)]
    assert all(0 < factor <= 1 for factor in factors)
    assert max(factors) == pytest.approx(1)


@pytest.mark.parametrize("num_steps", [0, -1])
def test_a_run_without_an_end_is_refused(num_steps):
    with pytest.raises(ValueError, match=rf"num_steps \({num_steps}\) .* trainer.max_steps"):
        TriStage(**TRI_STAGE).factor(0, num_steps=num_steps, peak_lr=1e-4)


def test_a_schedule_of_steps_drives_the_optimizer_at_each_step():
    optimizer = optimizer_with_lr(2.0)
    part = Cyclic(lowest_lr=1.0, num_cycles=1).build(
        optimizer, num_steps=4, monitor="val_eer", validation_interval=7
    )
    assert part["interval"] == "step"
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        part["scheduler"].step()
    assert rates == [1.0, 1.5, 2.0, 1.5]


def test_the_rate_falls_after_more_than_patience_validations_without_a_lower_metric():
    optimizer = optimizer_with_lr(1.0)
    part = ReduceOnPlateau(factor=0.5, patience=1, min_lr=0.3).build(
        optimizer, num_steps=10, monitor="val_eer", validation_interval=7
    )
    assert (part["monitor"], part["frequency"]) == ("val_eer", 7)
    rates = []
    for metric in (9.0, 8.0, 8.0, 8.0, 7.0, 7.0, 7.0, 7.0, 7.0):
        part["scheduler"].step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3]
