import math

import pytest
import torch

from w2v2_mt.core.arguments import ConfigError
from w2v2_mt.losses.weighting import (
    WEIGHTINGS,
    DynamicWeightAverage,
    EqualWeighting,
    MaxWeighting,
    MinWeighting,
    StaticWeighting,
    UncertaintyWeighting,
    build_weighting,
)
from w2v2_mt.settings.instantiation import instantiate

OPTIONS = {
    "static_speech_weight": 0.25,
    "dwa_weight_sum": 2.0,
    "dwa_temperature": 0.5,
    "dwa_window": 4,
    "weight_lr": 0.1,
    "gradnorm_alpha": 1.5,
}
TASKS = ["speech", "speaker"]
ALL_METHODS = [None, *WEIGHTINGS.names]


def step_losses(speech, speaker):
    return {
        "speech": torch.tensor(speech, requires_grad=True),
        "speaker": torch.tensor(speaker, requires_grad=True),
    }


def numbers(weights):
    return {name: weight.item() for name, weight in weights.items()}


def dynamic_weights(history, *, weight_sum=2.0, temperature=1.0, window):
    """Return the weights of the step after these losses."""
    weighting = DynamicWeightAverage(
        TASKS, dwa_weight_sum=weight_sum, dwa_temperature=temperature, dwa_window=window
    )
    for speech, speaker in history:
        weighting(step_losses(speech, speaker))
    return numbers(weighting(step_losses(1e6, 1e-6)))


def weights_of_ratios(ratio_speech, ratio_speaker, *, weight_sum=2.0, temperature=1.0):
    speech = math.exp(ratio_speech / temperature)
    speaker = math.exp(ratio_speaker / temperature)
    return {
        "speech": pytest.approx(weight_sum * speech / (speech + speaker), rel=1e-5),
        "speaker": pytest.approx(weight_sum * speaker / (speech + speaker), rel=1e-5),
    }


def test_equal_weights_sum_to_one():
    assert numbers(EqualWeighting()(step_losses(7.0, 1.0))) == {"speech": 0.5, "speaker": 0.5}


def test_static_weights_ignore_the_losses():
    weighting = StaticWeighting(static_speech_weight=0.75)
    assert numbers(weighting(step_losses(7.0, 1.0))) == {"speech": 0.75, "speaker": 0.25}


def test_the_other_tasks_share_what_a_static_speech_weight_leaves():
    losses = {**step_losses(7.0, 1.0), "sex": torch.tensor(2.0)}
    weights = numbers(StaticWeighting(static_speech_weight=0.5)(losses))
    assert weights == {"speech": 0.5, "speaker": 0.25, "sex": 0.25}


def test_static_weights_need_a_speech_task():
    with pytest.raises(ValueError, match=r"must weight the task speech, .* are speaker, sex\."):
        StaticWeighting(static_speech_weight=0.5)(dict.fromkeys(("speaker", "sex"), torch.ones(())))


def test_min_weighting_scales_all_losses_to_the_smallest():
    assert numbers(MinWeighting()(step_losses(8.0, 2.0))) == {"speech": 0.25, "speaker": 1}


def test_max_weighting_scales_all_losses_to_the_largest():
    assert numbers(MaxWeighting()(step_losses(8.0, 2.0))) == {"speech": 1, "speaker": 4}


@pytest.mark.parametrize("weighting", [MinWeighting(), MaxWeighting()])
@pytest.mark.parametrize(("speech", "speaker"), [(0.0, 2.0), (2.0, 0.0), (0.0, 0.0)])
def test_a_loss_of_zero_has_a_finite_weight(weighting, speech, speaker):
    weights = numbers(weighting(step_losses(speech, speaker)))
    assert all(math.isfinite(weight) and weight >= 0 for weight in weights.values())
    if speech == speaker:
        assert weights == {"speech": 1, "speaker": 1}


def test_dynamic_weights_are_equal_until_two_losses_are_known():
    assert dynamic_weights([], window=4) == {"speech": 1, "speaker": 1}
    assert dynamic_weights([(8.0, 1.0)], window=4) == {"speech": 1, "speaker": 1}


def test_the_task_whose_loss_falls_more_slowly_weighs_more():
    weights = dynamic_weights([(8.0, 1.0), (4.0, 0.9)], window=4)
    assert weights == weights_of_ratios(4 / 8, 0.9 / 1)
    assert weights["speaker"] > weights["speech"]


def test_the_loss_of_a_step_does_not_change_its_own_weights():
    weightings = [build_weighting("dwa", TASKS, OPTIONS) for _ in range(2)]
    for history in ((8.0, 1.0), (4.0, 0.9)):
        for weighting in weightings:
            weighting(step_losses(*history))
    low, high = (
        numbers(w(step_losses(x, 1.0))) for w, x in zip(weightings, (0.1, 90.0), strict=True)
    )
    assert low == high == weights_of_ratios(0.5, 0.9, temperature=0.5)


def test_the_middle_of_three_losses_is_in_neither_half():
    weights = dynamic_weights([(8.0, 1.0), (100.0, 50.0), (4.0, 3.0)], window=4)
    assert weights == weights_of_ratios(4 / 8, 3 / 1)


def test_halves_of_a_full_window_are_averaged():
    history = [(8.0, 1.0), (4.0, 2.0), (2.0, 3.0), (1.0, 3.0)]
    assert dynamic_weights(history, window=4) == weights_of_ratios(3 / 12, 6 / 3)


def test_the_oldest_loss_leaves_a_full_window():
    history = [(1000.0, 0.1), (500.0, 0.1), (8.0, 1.0), (4.0, 2.0), (2.0, 3.0), (1.0, 3.0)]
    assert dynamic_weights(history, window=4) == dynamic_weights(history[2:], window=4)


def test_an_odd_window_leaves_out_its_middle():
    history = [(9.0, 9.0), (8.0, 1.0), (4.0, 2.0), (77.0, 5.0), (2.0, 3.0), (1.0, 3.0)]
    assert dynamic_weights(history, window=5) == weights_of_ratios(3 / 12, 6 / 3)


def test_temperature_and_sum_of_the_weights():
    history = [(8.0, 1.0), (4.0, 0.9)]
    weights = dynamic_weights(history, weight_sum=3.0, temperature=0.25, window=2)
    assert weights == weights_of_ratios(0.5, 0.9, weight_sum=3.0, temperature=0.25)
    assert sum(weights.values()) == pytest.approx(3)


def test_losses_of_zero_keep_dynamic_weights_finite():
    assert dynamic_weights([(0.0, 0.0), (0.0, 0.0)], window=2) == {"speech": 1, "speaker": 1}
    assert dynamic_weights([(0.0, 1.0), (5.0, 1.0)], window=2) == {"speech": 2, "speaker": 0}


def test_the_order_of_the_losses_does_not_matter_to_dynamic_weights():
    weighting = build_weighting("dwa", TASKS, OPTIONS)
    weighting(step_losses(8.0, 1.0))
    weighting(dict(reversed(step_losses(4.0, 0.9).items())))
    assert numbers(weighting(step_losses(1.0, 1.0))) == weights_of_ratios(0.5, 0.9, temperature=0.5)


def test_the_window_resumes_from_a_state_dict():
    history = [(float(8 - i), float(1 + i % 3)) for i in range(7)]
    uninterrupted, before, after = (build_weighting("dwa", TASKS, OPTIONS) for _ in range(3))
    for pair in history[:5]:
        uninterrupted(step_losses(*pair))
        before(step_losses(*pair))
    after.load_state_dict(before.state_dict())
    for pair in history[5:]:
        losses = step_losses(*pair)
        assert numbers(after(losses)) == numbers(uninterrupted(losses))


@pytest.mark.parametrize("overflow", [math.inf, math.nan])
def test_a_step_with_a_loss_that_is_not_finite_is_not_kept(overflow):
    usual = [(3.0, 4.0), (2.0, 4.0), (2.0, 3.0)]
    disturbed = [usual[0], (overflow, 4.0), usual[1], (2.0, overflow), usual[2]]
    assert dynamic_weights(disturbed, window=4) == dynamic_weights(usual, window=4)
    # Where the ring is full already, and the oldest loss stays.
    full = 2 * usual
    assert dynamic_weights([*full, (overflow, 1.0)], window=4) == dynamic_weights(full, window=4)


def test_nothing_is_kept_in_eval_mode():
    weighting = build_weighting("dwa", TASKS, OPTIONS)
    weighting(step_losses(8.0, 1.0))
    weighting(step_losses(4.0, 0.9))
    weighting.eval()
    expected = numbers(weighting(step_losses(1.0, 1.0)))
    assert expected == weights_of_ratios(0.5, 0.9, temperature=0.5)
    assert numbers(weighting(step_losses(100.0, 0.001))) == expected
    weighting.train()
    assert weighting.num_seen.item() == 2


def uncertainty_weighting(speech, speaker):
    """Return a weighting with these variances, sigma^2."""
    weighting = UncertaintyWeighting(TASKS, weight_lr=0.1)
    with torch.no_grad():
        weighting.log_variances.copy_(torch.tensor([speech, speaker]).log())
    return weighting


def test_uncertainty_weights_are_one_at_first():
    weighting = UncertaintyWeighting(TASKS, weight_lr=0.1)
    assert numbers(weighting(step_losses(7.0, 1.0))) == {"speech": 1, "speaker": 1}
    assert weighting.penalty().item() == 0


def test_an_uncertain_task_weighs_less_and_costs_the_logarithm_of_its_deviation():
    weighting = uncertainty_weighting(4.0, 0.25)  # sigma is 2 and 1 / 2
    weights = numbers(weighting(step_losses(7.0, 1.0)))
    assert weights == {"speech": pytest.approx(1 / 4), "speaker": pytest.approx(4)}
    assert uncertainty_weighting(4.0, 1.0).penalty().item() == pytest.approx(math.log(2))
    assert weighting.penalty().item() == pytest.approx(math.log(2) + math.log(1 / 2), abs=1e-6)


def test_the_gradient_of_a_log_variance_is_half_minus_the_weighted_loss():
    weighting = uncertainty_weighting(4.0, 0.25)
    losses = step_losses(8.0, 0.5)
    weights = weighting(losses)
    total = sum(weights[task] * loss for task, loss in losses.items()) + weighting.penalty()
    total.backward()
    gradient = weighting.log_variances.grad.tolist()
    assert gradient == pytest.approx([0.5 - 8 / 4, 0.5 - 0.5 * 4])
    assert losses["speech"].grad.item() == pytest.approx(1 / 4)


def test_uncertainty_weights_go_to_one_over_twice_the_loss():
    weighting = UncertaintyWeighting(TASKS, weight_lr=0.1)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        losses = step_losses(5.0, 0.2)
        weights = weighting(losses)
        total = sum(weights[task] * loss for task, loss in losses.items()) + weighting.penalty()
        total.backward()
        optimizer.step()
    weights = numbers(weighting(losses))
    assert weights == {"speech": pytest.approx(0.1), "speaker": pytest.approx(2.5)}


@pytest.mark.parametrize("scale_method", ALL_METHODS)
def test_losses_get_no_gradient_from_weights_and_no_value_is_read_back(scale_method):
    # Tensors without values: reading one is an error.
    weighting = build_weighting(scale_method, TASKS, OPTIONS).to("meta")
    for _ in range(3):
        losses = {
            name: torch.zeros((), device="meta", requires_grad=True)
            for name in ("speech", "speaker")
        }
        weights = weighting(losses)
    assert list(weights) == ["speech", "speaker"]
    assert all(weight.shape == () for weight in weights.values())
    # Only learned weights have a gradient, and that ends in what is learned.
    learned = list(weighting.parameters())
    assert [weight.requires_grad for weight in weights.values()] == [bool(learned)] * 2
    if learned:
        tensors = [*losses.values(), *learned]
        gradients = torch.autograd.grad(weights["speech"], tensors, allow_unused=True)
        assert [gradient is None for gradient in gradients] == [True, True, False]


@pytest.mark.parametrize(
    ("scale_method", "expected"),
    [
        (None, {"speech": 0.5, "speaker": 0.5}),
        ("static", {"speech": 0.25, "speaker": 0.75}),
        ("min", {"speech": 0.5, "speaker": 1}),
        ("max", {"speech": 1, "speaker": 2}),
        ("dwa", {"speech": 1, "speaker": 1}),
        ("uncertainty", {"speech": 1, "speaker": 1}),
        ("gradnorm", {"speech": 0.5, "speaker": 0.5}),
        ("pcgrad", {"speech": 0.5, "speaker": 0.5}),
    ],
)
def test_a_method_is_built_by_its_name(scale_method, expected):
    weighting = build_weighting(scale_method, TASKS, OPTIONS)
    assert numbers(weighting(step_losses(4.0, 2.0))) == expected


def test_an_unknown_method_is_refused():
    sentence = "scale_method \\(gradnrom\\) is not a registered .* Did you mean 'gradnorm'"
    with pytest.raises(ValueError, match=sentence):
        build_weighting("gradnrom", TASKS, OPTIONS)


def test_an_option_that_no_method_declares_is_refused():
    node = {
        "_target_": "w2v2_mt.losses.multi_task.MultiTaskLossSettings",
        "scale_method": "min",
        "gradient_diagnostics_every_n_steps": None,
        "ctc_loss": {"_target_": "w2v2_mt.losses.ctc.CtcLoss", "blank_index": 0},
        "speaker_loss": {"_target_": "w2v2_mt.losses.speaker_loss.CrossEntropyLoss"},
        "dwa_windw": 3,
    }
    sentence = "^optim.loss.dwa_windw is not a setting of optim.loss. Did you mean 'dwa_window'"
    with pytest.raises(ConfigError, match=sentence):
        instantiate(node, key="optim.loss")


def test_an_option_that_a_method_misses_is_named():
    sentence = r"\(dwa\) must have the setting dwa_window. Add \+optim.loss.dwa_window=<value>"
    with pytest.raises(ValueError, match=sentence):
        build_weighting("dwa", TASKS, {"dwa_weight_sum": 1.0, "dwa_temperature": 1.0})


@pytest.mark.parametrize("scale_method", ["dwa", "uncertainty", "gradnorm"])
def test_losses_of_other_tasks_are_refused(scale_method):
    weighting = build_weighting(scale_method, TASKS, OPTIONS)
    with pytest.raises(ValueError, match=r"losses \(asr, speaker\) must be .* \(speech, speaker\)"):
        weighting({"asr": torch.tensor(1.0), "speaker": torch.tensor(1.0)})


@pytest.mark.parametrize("scale_method", ALL_METHODS)
def test_every_method_weights_any_number_of_tasks(scale_method):
    losses = {**step_losses(4.0, 2.0), "sex": torch.tensor(1.0)}
    weighting = build_weighting(scale_method, list(losses), OPTIONS)
    for _ in range(3):
        weights = weighting(losses)
    assert list(weights) == ["speech", "speaker", "sex"]
    assert all(weight > 0 for weight in numbers(weights).values())


def test_a_window_without_two_halves_is_refused():
    with pytest.raises(ValueError, match=r"dwa_window \(1\) must be at least 2"):
        dynamic_weights([], window=1)
