import math

import pytest
import torch
import torch.nn.functional as F

from w2v2_mt.losses.aam_softmax import AamSoftmaxLoss

MARGINS = [0.0, 0.1, 0.2, 0.5, 1.0, math.pi / 2]
PENALTIES = [0.0, 0.06, 0.3, math.pi / 2]


def loss_by_formula(cosines, label, margin, scale, *, top_k=0, penalty=0.0):
    """One utterance, with angles, in the numbers of Python."""
    angle = math.acos(cosines[label])
    if cosines[label] >= -math.cos(margin):  # angle + margin is at most pi
        target = math.cos(angle + margin)
    else:
        target = math.cos(angle) - margin * math.sin(margin)
    logits = [scale * cosine for cosine in cosines]
    logits[label] = scale * target
    others = [index for index in range(len(cosines)) if index != label]
    for index in sorted(others, key=lambda index: -cosines[index])[:top_k]:
        logits[index] = scale * math.cos(max(math.acos(cosines[index]) - penalty, 0))
    largest = max(logits)
    return largest + math.log(sum(math.exp(logit - largest) for logit in logits)) - logits[label]


def target_logits(cosines, margin):
    """The logit of the true class: the loss of two classes is softplus(other - target)."""
    others = torch.zeros_like(cosines)
    losses = torch.stack([
        AamSoftmaxLoss(margin=margin, scale=1.0)(row[None], torch.tensor([0]))
        for row in torch.stack([cosines, others], dim=1)
    ])  # fmt: skip
    return -losses.expm1().log()


@pytest.mark.parametrize("margin", MARGINS)
def test_it_agrees_with_the_formula_everywhere(margin):
    loss = AamSoftmaxLoss(margin=margin, scale=8.0)
    threshold = -math.cos(margin)  # where theta + margin is pi, and the logit makes a step
    grid = torch.linspace(-1, 1, 201, dtype=torch.float64).tolist()
    for cosine in [*grid, min(threshold + 1e-6, 1), max(threshold - 1e-6, -1)]:
        cosines = torch.tensor([[0.3, cosine, -0.2]])
        expected = loss_by_formula(cosines[0].tolist(), 1, margin, 8.0)
        result = loss(cosines, torch.tensor([1])).item()
        assert result == pytest.approx(expected, rel=1e-4, abs=1e-5)
    for cosine in [*grid, threshold]:
        cosines = torch.tensor([[0.3, cosine, -0.2]], dtype=torch.float64)
        expected = loss_by_formula(cosines[0].tolist(), 1, margin, 8.0)
        result = loss(cosines, torch.tensor([1])).item()
        assert result == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_the_batch_is_averaged():
    loss = AamSoftmaxLoss(margin=0.2, scale=30.0)
    cosines = torch.rand(4, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.tensor([0, 3, 5, 3])
    alone = [loss(cosines[i : i + 1], labels[i : i + 1]) for i in range(4)]
    torch.testing.assert_close(loss(cosines, labels), torch.stack(alone).mean())


def test_without_a_margin_it_is_cross_entropy_of_scaled_cosines():
    cosines = torch.rand(8, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    cosines[0, 0], cosines[1, 1] = 1.0, -1.0
    labels = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])
    loss = AamSoftmaxLoss(margin=0.0, scale=30.0)(cosines, labels)
    torch.testing.assert_close(loss, F.cross_entropy(30 * cosines, labels))


@pytest.mark.parametrize("margin", MARGINS)
def test_a_larger_angle_always_means_a_smaller_target_logit(margin):
    angles = torch.linspace(0, math.pi, 721, dtype=torch.float64)
    logits = target_logits(angles.cos(), margin)
    assert (logits.diff() < 0).all()


@pytest.mark.parametrize("margin", MARGINS)
def test_the_gradient_agrees_with_finite_differences(margin):
    # Away from the poles, and from the angle at which the continuation begins.
    angles = torch.linspace(0.05, math.pi - 0.05, 16, dtype=torch.float64)
    angles = angles[(angles + margin - math.pi).abs() > 1e-3]
    cosines = torch.stack([angles.cos(), 0.1 * angles, -0.2 * angles], dim=1).requires_grad_()
    labels = torch.zeros(len(angles), dtype=torch.long)
    loss = AamSoftmaxLoss(margin=margin, scale=5.0)
    assert torch.autograd.gradcheck(lambda values: loss(values, labels), cosines)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("top_k", [1, 2, 5, 6, 100])
def test_the_inter_top_k_penalty_equals_a_loop(top_k, penalty):
    generator = torch.Generator().manual_seed(0)
    cosines = (torch.rand(20, 7, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_()
    labels = torch.randint(7, (20,), generator=generator)
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0, inter_top_k=top_k, inter_top_k_penalty=penalty)
    expected = [
        loss_by_formula(row, label, 0.2, 8.0, top_k=top_k, penalty=penalty)
        for row, label in zip(cosines.tolist(), labels.tolist(), strict=True)
    ]
    assert loss(cosines, labels).item() == pytest.approx(sum(expected) / 20, rel=1e-9)
    assert torch.autograd.gradcheck(lambda values: loss(values, labels), cosines)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_penalty_agrees_with_the_formula_everywhere(penalty):
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0, inter_top_k=1, inter_top_k_penalty=penalty)
    threshold = math.cos(penalty)  # where theta - penalty is 0
    grid = [*torch.linspace(-1, 1, 201, dtype=torch.float64).tolist(), threshold]
    for cosine in [*grid, min(threshold + 1e-6, 1), max(threshold - 1e-6, -1)]:
        cosines = torch.tensor([[0.3, cosine, -1.0]])
        expected = loss_by_formula(cosines[0].tolist(), 0, 0.2, 8.0, top_k=1, penalty=penalty)
        result = loss(cosines, torch.tensor([0])).item()
        assert result == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_larger_angle_to_a_penalized_class_never_means_a_larger_loss(penalty):
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0, inter_top_k=1, inter_top_k_penalty=penalty)
    angles = torch.linspace(0, math.pi, 721, dtype=torch.float64)
    rows = torch.stack([torch.full_like(angles, 0.3), angles.cos()], dim=1)
    losses = torch.stack([loss(row[None], torch.tensor([0])) for row in rows])
    assert (losses.diff() <= 0).all()
    plain = AamSoftmaxLoss(margin=0.2, scale=8.0)
    assert all(
        loss(row[None], torch.tensor([0])) >= plain(row[None], torch.tensor([0])) for row in rows
    )


def test_the_true_class_is_never_among_the_penalized_ones():
    loss = AamSoftmaxLoss(margin=0.0, scale=8.0, inter_top_k=1, inter_top_k_penalty=0.3)
    cosines = torch.tensor([[0.9, 0.2, 0.1]])
    expected = loss_by_formula(cosines[0].tolist(), 0, 0.0, 8.0, top_k=1, penalty=0.3)
    assert loss(cosines, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("step", [0, 1, 250, 999, 1_000, 1_001, 10**6])
def test_the_margin_grows_linearly_and_then_stays(step):
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0, margin_warmup_steps=1_000)
    loss.set_step(step)
    margin = {0: 0.0, 1: 0.0002, 250: 0.05, 999: 0.1998}.get(step, 0.2)
    assert loss.present_margin == pytest.approx(margin, abs=1e-12)
    cosines = torch.tensor([[0.4, 0.1, -0.3]])
    expected = loss_by_formula(cosines[0].tolist(), 0, margin, 8.0)
    assert loss(cosines, torch.tensor([0])).item() == pytest.approx(expected, rel=1e-5)


def test_without_a_warmup_the_full_margin_applies_immediately():
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0)
    assert loss.present_margin == 0.2
    loss.set_step(0)
    assert loss.present_margin == 0.2


def test_a_margin_depends_on_the_step_alone_and_not_at_all_in_eval_mode():
    loss = AamSoftmaxLoss(margin=0.2, scale=8.0, margin_warmup_steps=10)
    for step in (9, 3, 7, 3):  # such as after a resume
        loss.set_step(step)
        assert loss.present_margin == pytest.approx(0.02 * step)
    assert loss.state_dict() == {}
    assert loss.eval().present_margin == 0.2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("top_k", [0, 1, 2])
def test_value_and_gradient_are_finite_up_to_both_poles(dtype, margin, top_k):
    poles = torch.tensor([-1, 1], dtype=dtype)
    beside = torch.nextafter(poles.float(), torch.zeros(2)).to(dtype)
    targets = torch.cat([poles, beside, 1.001 * poles, torch.linspace(-1, 1, 41).to(dtype)])
    cosines = torch.stack([targets, targets, -targets], dim=1).requires_grad_()
    loss = AamSoftmaxLoss(margin=margin, scale=64.0, inter_top_k=top_k, inter_top_k_penalty=margin)(
        cosines, torch.zeros(len(targets), dtype=torch.long)
    )
    loss.backward()
    assert loss.isfinite()
    assert cosines.grad.isfinite().all()


def test_at_a_cosine_of_one_the_target_is_still_pulled_up():
    cosines = torch.tensor([[1.0, 1.0]], requires_grad=True)
    AamSoftmaxLoss(margin=0.2, scale=30.0)(cosines, torch.tensor([0])).backward()
    assert cosines.grad[0, 0] < 0 < cosines.grad[0, 1]


def test_a_scaled_gradient_at_a_pole_fits_into_16_bits():
    cosines = torch.tensor([[1.0, 1.0]], dtype=torch.float16, requires_grad=True)
    loss = AamSoftmaxLoss(margin=0.2, scale=30.0)(cosines, torch.tensor([0]))
    (64 * loss).backward()
    assert cosines.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision():
    loss = AamSoftmaxLoss(margin=0.2, scale=30.0)
    cosines = torch.rand(8, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1
    labels = torch.arange(8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under_autocast = loss(cosines, labels)
    assert under_autocast.dtype == torch.float32
    torch.testing.assert_close(under_autocast, loss(cosines, labels), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_cosines_give_the_loss_of_float32(dtype):
    loss = AamSoftmaxLoss(margin=0.2, scale=30.0)
    cosines = (torch.rand(8, 50, generator=torch.Generator().manual_seed(0)) * 2 - 1).to(dtype)
    labels = torch.arange(8)
    assert torch.equal(loss(cosines, labels), loss(cosines.float(), labels))


def test_no_option_reads_a_value_back_from_the_device():
    # Tensors on "meta" have no values: asking for one is an error there.
    loss = AamSoftmaxLoss(
        margin=0.2, scale=30.0, margin_warmup_steps=9, inter_top_k=5, inter_top_k_penalty=0.06
    )
    loss.set_step(3)
    cosines = torch.empty(8, 50, device="meta", requires_grad=True)
    loss(cosines, torch.empty(8, dtype=torch.int64, device="meta")).backward()
    assert cosines.grad.shape == (8, 50)


@pytest.mark.parametrize("margin", [-0.1, 1.6, math.nan])
def test_a_margin_that_is_not_an_acute_angle_is_refused(margin):
    with pytest.raises(ValueError, match=rf"margin \({margin}\) must be from 0 to pi"):
        AamSoftmaxLoss(margin=margin, scale=30.0)


def test_a_penalty_that_is_not_an_acute_angle_is_refused():
    with pytest.raises(ValueError, match=r"inter_top_k_penalty \(2.0\) must be from 0 to pi"):
        AamSoftmaxLoss(margin=0.2, scale=30.0, inter_top_k=5, inter_top_k_penalty=2.0)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf])
def test_a_scale_that_is_not_positive_is_refused(scale):
    with pytest.raises(ValueError, match=rf"scale \({scale}\) must be finite and above 0"):
        AamSoftmaxLoss(margin=0.2, scale=scale)
