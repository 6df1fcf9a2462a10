import math

import pytest
import torch
import torch.nn.functional as F

from w2v2_mt.losses.ctc import CtcLoss


def random_batch(*, batch=3, time=12, classes=5, num_tokens=(4, 2, 3), seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, time, classes, generator=generator).requires_grad_()
    tokens = torch.randint(1, classes, (batch, max(num_tokens)), generator=generator)
    return logits, tokens, torch.tensor(num_tokens)


def test_one_token_in_two_frames_sums_over_its_three_paths():
    probabilities = torch.tensor([[[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]])
    result = CtcLoss(blank_index=0)(
        probabilities.log(), torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])
    )
    # 1 1, 1 -, - 1
    expected = -math.log(0.6 * 0.3 + 0.6 * 0.5 + 0.1 * 0.3)
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)
    assert result.num_unalignable.item() == 0


def test_the_blank_can_be_any_class():
    probabilities = torch.tensor([[[0.1, 0.6, 0.3], [0.5, 0.3, 0.2]]])
    result = CtcLoss(blank_index=2)(
        probabilities.log(), torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1])
    )
    expected = -math.log(0.6 * 0.3 + 0.6 * 0.2 + 0.3 * 0.3)
    assert result.loss.item() == pytest.approx(expected, rel=1e-5)


def test_each_utterance_counts_per_token_and_alike():
    logits, tokens, num_tokens = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    together = loss(logits, num_frames, tokens, num_tokens).loss
    alone = [
        F.ctc_loss(
            logits[i, :frames].log_softmax(-1), tokens[i, :length], (frames,), (length,),
            reduction="sum",
        ) / length
        for i, (frames, length) in enumerate(zip([12, 7, 9], [4, 2, 3], strict=True))
    ]  # fmt: skip
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_neither_padded_frames_nor_padded_tokens_matter():
    logits, tokens, num_tokens = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    expected = loss(logits, num_frames, tokens, num_tokens).loss
    padded_logits = F.pad(logits.detach(), (0, 0, 0, 5), value=100.0)
    padded_tokens = F.pad(tokens, (0, 3), value=2)
    result = loss(padded_logits, num_frames, padded_tokens, num_tokens)
    torch.testing.assert_close(result.loss, expected.detach())


@pytest.mark.parametrize(
    ("num_frames", "tokens", "is_alignable"),
    [
        (3, [1, 2, 3], True),
        (2, [1, 2, 3], False),
        (3, [1, 1, 2], False),  # the blank between equal tokens takes a frame
        (4, [1, 1, 2], True),
        (4, [1, 1, 1], False),
        (5, [1, 1, 1], True),
        (0, [1], False),
        (0, [], False),
        (1, [], True),
    ],
)
def test_an_utterance_with_too_few_frames_is_skipped_and_counted(num_frames, tokens, is_alignable):
    logits = torch.randn(1, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    # Padding repeats the last token, which must not be counted.
    padded = torch.tensor([tokens + (tokens[-1:] or [1]) * (4 - len(tokens))])
    result = CtcLoss(blank_index=0)(
        logits, torch.tensor([num_frames]), padded, torch.tensor([len(tokens)])
    )
    result.loss.backward()
    assert result.num_unalignable.item() == (0 if is_alignable else 1)
    assert (result.loss.item() > 0) == is_alignable
    assert (logits.grad.abs().sum() > 0) == is_alignable
    assert logits.grad.isfinite().all()


def test_a_skipped_utterance_changes_nothing_for_the_others():
    logits, tokens, num_tokens = random_batch()
    loss = CtcLoss(blank_index=0)
    result = loss(logits, torch.tensor([12, 0, 1]), tokens, num_tokens)
    result.loss.backward()
    alone = logits.detach()[:1].requires_grad_()
    expected = loss(alone, torch.tensor([12]), tokens[:1], num_tokens[:1]).loss / 3
    expected.backward()
    assert result.num_unalignable.item() == 2
    torch.testing.assert_close(result.loss, expected)
    torch.testing.assert_close(logits.grad[:1], alone.grad)
    assert (logits.grad[1:] == 0).all()


def test_a_batch_without_tokens_asks_for_blanks():
    logits = torch.zeros(2, 4, 5, requires_grad=True)
    result = CtcLoss(blank_index=0)(
        logits, torch.tensor([4, 2]), torch.zeros(2, 0, dtype=torch.long), torch.tensor([0, 0])
    )
    result.loss.backward()
    assert result.loss.item() == pytest.approx((4 + 2) / 2 * math.log(5), rel=1e-5)
    assert (logits.grad[0, :, 0] < 0).all()


def test_half_precision_logits_and_autocast_give_a_float32_loss():
    logits, tokens, num_tokens = random_batch()
    num_frames = torch.tensor([12, 7, 9])
    loss = CtcLoss(blank_index=0)
    half = logits.detach().to(torch.bfloat16)
    expected = loss(half.float(), num_frames, tokens, num_tokens).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = loss(half, num_frames, tokens, num_tokens)
    assert result.loss.dtype == torch.float32
    torch.testing.assert_close(result.loss, expected)
