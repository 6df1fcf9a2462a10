import math

import pytest
import torch
import torch.nn.functional as F

from w2v2_mt.models.pooling import (
    POOLINGS,
    AttentivePooling,
    FirstPooling,
    LastPooling,
    MaxPooling,
    MeanPooling,
    MeanStdPooling,
    MiddlePooling,
    QuantilePooling,
    RandomPooling,
)

DIM = 6

# The second utterance has two real frames; what stands behind them must never be seen.
FRAMES = torch.tensor([[[1.0, 10], [2, 30], [6, 20]], [[-4, 5], [-2, 5], [99, 99]]])
NUM_FRAMES = torch.tensor([3, 2])

each_pooling = pytest.mark.parametrize("name", POOLINGS.names)
each_dtype = pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])


def seeded_pooling(name, dim=DIM):
    torch.manual_seed(0)
    return POOLINGS.find(name)(dim).eval()


def random_frames(batch=4, time=9, seed=0):
    return torch.randn(batch, time, DIM, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (FirstPooling(2), [[1, 10], [-4, 5]]),
        (LastPooling(2), [[6, 20], [-2, 5]]),
        (MiddlePooling(2), [[2, 30], [-2, 5]]),
        (MaxPooling(2), [[6, 30], [-2, 5]]),
        (MeanPooling(2), [[3, 20], [-3, 5]]),
        (
            MeanStdPooling(2),
            [[3, 20, math.sqrt(14 / 3), math.sqrt(200 / 3)], [-3, 5, 1, 0]],
        ),
        (
            QuantilePooling(2),
            [
                [1, 10, 1.5, 15, 2, 20, 4, 25, 6, 30],
                [-4, 5, -3.5, 5, -3, 5, -2.5, 5, -2, 5],
            ],
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_numbers_by_hand(pooling, expected):
    torch.testing.assert_close(
        pooling(FRAMES, NUM_FRAMES), torch.tensor(expected, dtype=torch.float), atol=2e-5, rtol=1e-6
    )


class TestRandomPooling:
    def test_in_training_every_real_frame_is_drawn_equally_often_and_no_other(self):
        torch.manual_seed(0)
        positions = torch.arange(5.0).expand(6000, 5)[:, :, None]
        num_frames = torch.tensor([3]).expand(6000)
        counts = RandomPooling(1).train()(positions, num_frames).flatten().long().bincount()
        assert len(counts) == 3
        assert ((counts - 2000).abs() < 150).all()  # four standard deviations

    def test_in_eval_mode_it_is_the_middle_frame(self):
        expected = MiddlePooling(2)(FRAMES, NUM_FRAMES)
        assert torch.equal(RandomPooling(2).eval()(FRAMES, NUM_FRAMES), expected)

    def test_a_dimension_is_never_mixed_with_another_frame(self):
        torch.manual_seed(0)
        frames = torch.arange(9.0)[None, :, None].expand(50, 9, DIM)
        embeddings = RandomPooling(DIM).train()(frames, torch.full((50,), 9))
        assert (embeddings == embeddings[:, :1]).all()


def test_quantiles_agree_with_torch_for_each_utterance():
    frames, num_frames = random_frames(), torch.tensor([9, 1, 4, 6])
    embeddings = QuantilePooling(DIM)(frames, num_frames)
    for embedding, utterance, length in zip(embeddings, frames, num_frames.tolist(), strict=True):
        levels = torch.tensor([0, 0.25, 0.5, 0.75, 1])
        expected = utterance[:length].quantile(levels, dim=0)
        torch.testing.assert_close(embedding.reshape(5, DIM), expected)


class TestAttentivePooling:
    def test_it_agrees_with_the_formula_for_each_utterance(self):
        frames, num_frames = random_frames(), torch.tensor([9, 1, 4, 6])
        pooling = seeded_pooling("attentive")
        embeddings = pooling(frames, num_frames)
        for embedding, utterance, length in zip(
            embeddings, frames, num_frames.tolist(), strict=True
        ):
            real = utterance[:length]
            hidden = torch.tanh(real @ pooling.hidden.weight.T + pooling.hidden.bias)
            weights = torch.softmax(hidden @ pooling.score.weight[0], dim=0)
            mean = weights @ real
            variance = weights @ real.square() - mean.square()
            expected = torch.cat([mean, variance.clamp(min=0).sqrt()])
            torch.testing.assert_close(embedding, expected, atol=1e-3, rtol=1e-4)

    def test_with_equal_scores_it_is_mean_and_std(self):
        frames, num_frames = random_frames(), torch.tensor([9, 1, 4, 6])
        pooling = seeded_pooling("attentive")
        torch.nn.init.zeros_(pooling.score.weight)
        torch.testing.assert_close(
            pooling(frames, num_frames), MeanStdPooling(DIM)(frames, num_frames)
        )

    def test_every_parameter_learns(self):
        pooling = seeded_pooling("attentive")
        pooling(random_frames(), torch.tensor([9, 1, 4, 6])).square().sum().backward()
        assert all((parameter.grad != 0).any() for parameter in pooling.parameters())

    def test_a_frame_with_a_far_higher_score_is_the_embedding(self):
        pooling = AttentivePooling(2)
        with torch.no_grad():
            pooling.hidden.weight.copy_(torch.tensor([1.0, 0]).expand_as(pooling.hidden.weight))
            pooling.hidden.bias.zero_()
            pooling.score.weight.fill_(1.0)  # the sum of 128 times tanh of the first dimension
        frames = torch.tensor([[[-1.0, 7], [1, 8], [0, 9]]])
        torch.testing.assert_close(
            pooling(frames, torch.tensor([3])), torch.tensor([[1.0, 8, 0, 0]]), atol=2e-5, rtol=0
        )


class TestSelectedFrames:
    SELECTED = torch.tensor([[True, False, True], [False, False, True]])

    def test_mean_is_over_the_selected_real_frames(self):
        # The second utterance has selected padding only, and so uses all its real frames.
        torch.testing.assert_close(
            MeanPooling(2)(FRAMES, NUM_FRAMES, self.SELECTED), torch.tensor([[3.5, 15], [-3, 5]])
        )

    def test_std_is_over_the_selected_real_frames(self):
        torch.testing.assert_close(
            MeanStdPooling(2)(FRAMES, NUM_FRAMES, self.SELECTED),
            torch.tensor([[3.5, 15, 2.5, 5], [-3, 5, 1, 0]]),
            atol=2e-5,
            rtol=1e-6,
        )

    @pytest.mark.parametrize("pooling", [MeanPooling(DIM), MeanStdPooling(DIM)])
    def test_selecting_everything_or_nothing_changes_nothing(self, pooling):
        frames, num_frames = random_frames(), torch.tensor([9, 1, 4, 6])
        expected = pooling(frames, num_frames)
        everything = torch.ones(4, 9, dtype=torch.bool)
        torch.testing.assert_close(pooling(frames, num_frames, everything), expected)
        torch.testing.assert_close(pooling(frames, num_frames, ~everything), expected)

    @pytest.mark.parametrize("pooling", [MeanPooling(DIM), MeanStdPooling(DIM)])
    def test_frames_that_are_not_selected_get_no_gradient(self, pooling):
        frames = random_frames(batch=1).requires_grad_()
        selected = torch.tensor([[True, False] * 4 + [True]])
        pooling(frames, torch.tensor([7]), selected).square().sum().backward()
        has_gradient = (frames.grad[0] != 0).any(dim=1)
        assert has_gradient.tolist() == [True, False] * 3 + [True, False, False]


@each_pooling
def test_the_embedding_has_as_many_values_as_the_pooling_says(name):
    factor = {"mean+std": 2, "attentive": 2, "quantile": 5}.get(name, 1)
    pooling = seeded_pooling(name)
    assert pooling.out_dim == factor * DIM
    assert pooling(random_frames(), torch.tensor([9, 1, 4, 6])).shape == (4, factor * DIM)


@each_pooling
@pytest.mark.parametrize("padding", [0.0, 1e4, math.nan, math.inf, -math.inf])
def test_padding_changes_neither_embedding_nor_gradient(name, padding):
    pooling = seeded_pooling(name)
    frames, num_frames = random_frames(batch=3), torch.tensor([9, 1, 4])
    embeddings = pooling(frames, num_frames)
    for row, length in enumerate(num_frames.tolist()):
        real = frames[row : row + 1, :length].clone().requires_grad_()
        alone = pooling(real, num_frames[row : row + 1])
        padded = F.pad(real, (0, 0, 0, 12 - length), value=padding)
        long = pooling(padded, num_frames[row : row + 1])
        torch.testing.assert_close(alone[0], embeddings[row], atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(long, alone, atol=1e-6, rtol=1e-5)
        pooling.zero_grad()
        (of_alone,) = torch.autograd.grad(alone.square().sum(), real)
        long.square().sum().backward()
        torch.testing.assert_close(real.grad, of_alone, atol=1e-5, rtol=1e-4)
        assert all(p.grad is None or p.grad.isfinite().all() for p in pooling.parameters())


@each_pooling
@pytest.mark.parametrize("mode", [True, False])
def test_an_utterance_without_a_frame_is_zeros(name, mode):
    pooling = seeded_pooling(name).train(mode)
    frames = random_frames(batch=2).requires_grad_()
    embeddings = pooling(frames, torch.tensor([0, 5]))
    embeddings.sum().backward()
    assert (embeddings[0] == 0).all()
    assert (embeddings[1] != 0).any()
    assert (frames.grad[0] == 0).all()
    assert frames.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in pooling.parameters())


@each_pooling
@pytest.mark.parametrize("kind", ["one frame", "equal frames"])
def test_gradients_are_finite_without_variance(name, kind):
    pooling = seeded_pooling(name)
    frames = torch.full((2, 5, DIM), 0.7).requires_grad_()
    num_frames = torch.tensor([1, 1] if kind == "one frame" else [5, 3])
    embeddings = pooling(frames, num_frames)
    embeddings.square().sum().backward()
    assert embeddings.isfinite().all()
    assert frames.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in pooling.parameters())


@each_pooling
@each_dtype
def test_half_precision_frames_are_pooled_in_float32(name, dtype):
    # In 16 bits the sum of 3000 frames overflows or stops growing, and the squares overflow.
    frames = (50 + 10 * random_frames(batch=2, time=3000)).to(dtype)
    num_frames = torch.tensor([3000, 2000])
    pooling = seeded_pooling(name)
    expected = pooling(frames.float(), num_frames)
    embeddings = pooling.to(dtype)(frames, num_frames)
    assert embeddings.dtype == dtype
    if name == "attentive":  # its scores come from layers in 16 bits
        torch.testing.assert_close(embeddings.float(), expected, atol=0.5, rtol=0.02)
    else:
        torch.testing.assert_close(embeddings, expected.to(dtype))


@each_pooling
def test_autocast_does_not_touch_the_statistics(name):
    frames, num_frames = random_frames(), torch.tensor([9, 1, 4, 6])
    pooling = seeded_pooling(name)
    expected = pooling(frames, num_frames)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embeddings = pooling(frames, num_frames)
    tolerance = 0.02 if name == "attentive" else 0
    torch.testing.assert_close(embeddings, expected, atol=tolerance, rtol=0)


@each_pooling
@pytest.mark.usefixtures("autocast_everywhere")
@pytest.mark.parametrize("mode", [True, False])
def test_no_number_is_read_back_from_the_device(name, mode):
    pooling = seeded_pooling(name).train(mode).to("meta")  # tensors without numbers
    embeddings = pooling(
        torch.zeros(4, 9, DIM, device="meta"), torch.zeros(4, dtype=torch.long, device="meta")
    )
    assert embeddings.shape == (4, pooling.out_dim)


def test_an_unknown_name_is_refused():
    with pytest.raises(
        ValueError, match=r"stat_pooling_type \(average\) is not a registered pooling"
    ):
        POOLINGS.find("average")
