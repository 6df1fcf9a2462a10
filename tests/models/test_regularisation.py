import torch
from torch import nn

from tests.helpers.small_networks import NO_REGULARISATION
from w2v2_mt.models.regularisation import Regularisation, SpecAugment, draw_spans


def test_spans_lie_inside_the_real_part_of_each_row():
    torch.manual_seed(1)
    lengths = torch.tensor([200, 50, 10, 9, 0])
    for _ in range(20):
        mask = draw_spans(lengths, 200, probability=0.5, span_length=10)
        for row, length in enumerate(lengths.tolist()):
            assert not mask[row, length:].any()
        assert not mask[3].any(), "a row shorter than a span stays as it is"


def test_masked_elements_come_in_spans_of_at_least_the_given_length():
    torch.manual_seed(2)
    mask = draw_spans(torch.full((50,), 100), 100, probability=0.2, span_length=7)
    for row in mask:
        runs = "".join("x" if masked else " " for masked in row.tolist()).split()
        assert all(len(run) >= 7 for run in runs)


def test_the_number_of_spans_follows_the_probability():
    torch.manual_seed(3)
    # One span at most fits the expectation 0.1 * 100 / 10 = 1: exactly 10 elements each.
    mask = draw_spans(torch.full((200,), 100), 100, probability=0.1, span_length=10)
    assert mask.sum(dim=1).unique().tolist() == [10]
    # 0.05 * 100 / 10 = 0.5: half of the rows have one span.
    mask = draw_spans(torch.full((2_000,), 100), 100, probability=0.05, span_length=10)
    assert 0.45 < mask.any(dim=1).float().mean() < 0.55


def test_probability_zero_masks_nothing_and_one_masks_most():
    torch.manual_seed(4)
    lengths = torch.full((100,), 100)
    assert not draw_spans(lengths, 100, probability=0.0, span_length=10).any()
    # Ten spans of ten at different starts: 1 - C(0.9, 10) of the frames, about 0.63.
    share = draw_spans(lengths, 100, probability=1.0, span_length=10).float().mean()
    assert 0.55 < share < 0.75


def regularised(**changes):
    return Regularisation(**{**vars(NO_REGULARISATION), **changes})


def test_masked_frames_become_the_trained_vector_and_only_in_training():
    torch.manual_seed(5)
    vector = nn.Parameter(torch.full((8,), 7.0))
    augment = SpecAugment(
        regularisation=regularised(mask_time_prob=0.5, mask_time_length=3), masked_frame=vector
    )
    frames, num_frames = torch.randn(4, 40, 8), torch.tensor([40, 30, 20, 10])
    masked = augment(frames, num_frames)
    changed = (masked != frames).any(dim=-1)
    assert changed.any()
    assert (masked[changed] == 7.0).all()
    masked.sum().backward()
    assert (vector.grad == changed.sum()).all()
    assert augment.eval()(frames, num_frames) is frames


def test_masked_dimensions_are_zero_in_all_frames_of_an_utterance():
    torch.manual_seed(6)
    augment = SpecAugment(
        regularisation=regularised(mask_feature_prob=0.5, mask_feature_length=4), masked_frame=None
    )
    frames = torch.randn(6, 9, 16)
    masked = augment(frames, torch.full((6,), 9))
    is_zero = masked == 0
    assert is_zero.any()
    assert (is_zero.all(dim=1) == is_zero.any(dim=1)).all()
    assert (masked[~is_zero] == frames[~is_zero]).all()
