import math

import pytest
import torch
import torch.nn.functional as F

from w2v2_mt.losses.ctc import CtcLoss


def random_batch(*, batch=3, time=12, classes=5, num_letters=(4, 2, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, time, classes, generator=generator).requires_grad_()
    letters = torch.randint(1, classes, (batch, max(num_letters)), generator=generator)
    return logits, letters, torch.tensor(num_letters)


def test_one_letter_in_two_frames_sums_over_its_three_paths():
    probabilities = torch.tensor([[[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]])
    result = CtcLoss(blank_index=0)(
        probabilities.log(), torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])
    )
    # 1 1, 1 -, - 1
    expected = -math.log(0.6 * 0.3 + 0.6 * 0.5 + 0.1 * 0.3)
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)
    assert result.num_unalignable.item() == 0


def test_the_blank_can_be_any_letter():
    probabilities = torch.tensor([[[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]])
    result = CtcLoss(blank_index=2)(
        probabilities.log(), torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])
    )
    expected = -math.log(0.6 * 0.3 + 0.6 * 0.2 + 0.3 * 0.3)
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)


def test_each_utterance_counts_per_letter_and_alike():
    logits, letters, num_letters = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    together = loss(logits, num_frames, letters, num_letters).loss
    alone = [
        F.ctc_loss(
            logits[i, :frames].log_softmax(-1), letters[i, :length], (frames,), (length,),
            reduction="sum",
        ) / length
        for i, (frames, length) in enumerate(zip([12, 7, 9], [4, 2, 3], strict=True))
    ]  # fmt: skip
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_neither_padded_frames_nor_padded_letters_matter():
    logits, letters, num_letters = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    expected = loss(logits, num_frames, letters, num_letters).loss
    padded_logits = F.pad(logits.detach(), (0, 0, 0, 5), value=100.0)
    padded_letters = F.pad(letters, (0, 3), value=2)
    result = loss(padded_logits, num_frames, padded_letters, num_letters)
    torch.testing.assert_close(result.loss, expected.detach())


@pytest.mark.parametrize(
    ("num_frames", "letters", "is_alignable"),
    [
        (3, [1, 2, 3], True),
        (2, [1, 2, 3], False),
        (3, [1, 1, 2], False),  # the blank between equal letters takes a frame
        (4, [1, 1, 2], True),
        (4, [1, 1, 1], False),
        (5, [1, 1, 1], True),
        (0, [1], False),
        (0, [], False),
        (1, [], True),
    ],
)
def test_what_needs_more_frames_than_there_are_is_left_out_and_counted(
    num_frames, letters, is_alignable
):
    logits = torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # Behind the last real letter stand repeats of it, which must not be counted.
    padded = torch.tensor([letters + (letters[-1:] or [1]) * (4 - len(letters))])
    result = CtcLoss(blank_index=0)(
        logits, torch.tensor([num_frames]), padded, torch.tensor([len(letters)])
    )
    result.loss.backward()
    assert result.num_unalignable.item() == (0 if is_alignable else 1)
    assert (result.loss.item() > 0) == is_alignable
    assert (logits.grad.abs().sum() > 0) == is_alignable
    assert logits.grad.isfinite().all()


def test_what_is_left_out_changes_nothing_for_the_others():
    logits, letters, num_letters = random_batch()
    loss = CtcLoss(blank_index=0)
    result = loss(logits, torch.tensor([12, 0, 1]), letters, num_letters)
    result.loss.backward()
    alone = logits.detach()[:1].requires_grad_()
    expected = loss(alone, torch.tensor([12]), letters[:1], num_letters[:1]).loss / 3
    expected.backward()
    assert result.num_unalignable.item() == 2
    torch.testing.assert_close(result.loss, expected)
    torch.testing.assert_close(logits.grad[:1], alone.grad)
    assert (logits.grad[1:] == 0).all()


def test_a_batch_without_any_letter_is_a_wish_for_blanks():
    logits = torch.zeros(2, 4, 5, requires_grad=True)
    result = CtcLoss(blank_index=0)(
        logits, torch.tensor([4, 2]), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0])
    )
    result.loss.backward()
    assert result.loss.item() == pytest.approx((4 + 2) / 2 * math.log(5), rel=1e-5)
    assert (logits.grad[0, :, 0] < 0).all()


def test_half_precision_logits_and_autocast_give_a_float32_loss():
    logits, letters, num_letters = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    half = logits.detach().to(torch.bfloat16)
    expected = loss(half.float(), num_frames, letters, num_letters).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(half, num_frames, letters, num_letters)
    assert result.loss.dtype == torch.float32
    torch.testing.assert_close(result.loss, expected)
