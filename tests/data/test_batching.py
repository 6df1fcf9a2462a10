from itertools import count, islice
from random import Random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from w2v2_mt.core.samples import SpeakerSample
from w2v2_mt.data.batching import (
    dynamic_batches,
    equal_size_batches,
    shuffle,
    similar_length_batches,
)


def _dynamic(lengths: object, *, max_num_samples: int, max_queue_size: int, seed: int = 0) -> list:
    """Batches of plain lengths."""
    return dynamic_batches(  # type: ignore[return-value]
        lengths,
        max_num_samples=max_num_samples,
        max_queue_size=max_queue_size,
        length=int,
        rng=Random(seed),
    )


def _librispeech_like_lengths(rng: Random, num_utterances: int) -> list[int]:
    """Most utterances last 12 to 16 s, a quarter anything from 1.5 s on, a few up to 24 s."""
    durations_sec = [
        rng.triangular(10, 17, 15) if rng.random() < 0.75 else rng.uniform(1.5, 13)
        for _ in range(num_utterances)
    ]
    durations_sec[:: num_utterances // 20] = [rng.uniform(17, 24.5) for _ in range(20)]
    return [round(16_000 * duration) for duration in durations_sec]


@pytest.mark.parametrize("buffer_size", [1, 2, 10, 100, 1000])
def test_shuffling_loses_and_repeats_nothing(buffer_size: int) -> None:
    output = list(shuffle(range(100), Random(1), buffer_size=buffer_size))
    assert sorted(output) == list(range(100))
    assert (output == list(range(100))) == (buffer_size == 1)


def test_shuffling_is_drawn_from_the_generator() -> None:
    first, again, other = (
        list(shuffle(range(50), Random(seed), buffer_size=20)) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_shuffling_holds_no_more_than_its_buffer() -> None:
    num_read = count()
    samples = (next(num_read) for _ in range(100))
    stream = shuffle(samples, Random(0), buffer_size=7)
    next(stream)
    assert next(num_read) == 8


def _ordered(lengths: list[int], **limits: int | None) -> list[list[int]]:
    settings = {"max_num_samples": 12, "max_batch_size": None, "window_size": 5, **limits}
    return list(similar_length_batches(lengths, Random(0), length=int, **settings))


def test_evaluation_batches_are_cut_from_sorted_windows() -> None:
    # 13 is longer than a batch, and so alone; the window after it begins anew.
    assert _ordered([3, 1, 13, 6, 4, 2, 2, 1]) == [[13], [6, 4], [3, 1], [2, 2, 1]]
    assert _ordered([3, 1, 2, 4, 1], max_batch_size=2) == [[4, 3], [2, 1], [1]]


@given(
    lengths=st.lists(st.integers(1, 50), max_size=60),
    max_num_samples=st.integers(1, 200),
    max_batch_size=st.none() | st.integers(1, 5),
    window_size=st.integers(1, 20),
)
def test_evaluation_batches_fit_and_lose_nothing(
    lengths: list[int], max_num_samples: int, max_batch_size: int | None, window_size: int
) -> None:
    batches = _ordered(
        lengths,
        max_num_samples=max_num_samples,
        max_batch_size=max_batch_size,
        window_size=window_size,
    )
    for batch in batches:
        assert len(batch) * max(batch) <= max_num_samples or len(batch) == 1
        assert len(batch) <= (max_batch_size or len(batch))
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)


def test_equal_size_batches_keep_the_order_and_the_rest() -> None:
    assert list(equal_size_batches(range(7), Random(0), batch_size=3)) == [
        [0, 1, 2],
        [3, 4, 5],
        [6],
    ]
    assert list(equal_size_batches([], Random(0), batch_size=3)) == []


@given(
    lengths=st.lists(st.integers(1, 50), max_size=80),
    max_num_samples=st.integers(50, 300),
    max_queue_size=st.integers(1, 30),
    seed=st.integers(0, 3),
)
def test_dynamic_batches_fit_and_lose_nothing(
    lengths: list[int], max_num_samples: int, max_queue_size: int, seed: int
) -> None:
    batches = list(
        _dynamic(lengths, max_num_samples=max_num_samples, max_queue_size=max_queue_size, seed=seed)
    )
    assert all(len(batch) * max(batch) <= max_num_samples for batch in batches)
    assert sorted(length for batch in batches for length in batch) == sorted(lengths)


def test_a_queue_is_split_as_computed_by_hand() -> None:
    batches = list(_dynamic([2, 10, 9, 3, 4, 5], max_num_samples=20, max_queue_size=10))
    # 2 x 10; 4 x 5 would fit with 3 and 2 behind them
    assert sorted(sorted(batch) for batch in batches) == [[2, 3, 4, 5], [9, 10]]


def test_batches_come_in_a_drawn_order() -> None:
    def first_lengths(seed: int) -> list[int]:
        return [
            batch[0]
            for batch in _dynamic(
                range(10, 200), max_num_samples=400, max_queue_size=500, seed=seed
            )
        ]

    assert first_lengths(1) == first_lengths(1)
    assert first_lengths(1) != first_lengths(2)
    assert first_lengths(1) != sorted(first_lengths(1), reverse=True)


def test_padding_is_at_most_5_per_cent_on_durations_like_those_of_librispeech() -> None:
    lengths = _librispeech_like_lengths(Random(5), 8_000)
    batches = list(_dynamic(lengths, max_num_samples=3_200_000, max_queue_size=400))
    padded = sum(len(batch) * max(batch) for batch in batches)
    assert 1 - sum(lengths) / padded <= 0.05
    # ... and the batches are full: a seventh of the room at most is left over.
    assert padded / (len(batches) * 3_200_000) > 6 / 7


def test_no_sample_waits_for_long_in_an_endless_stream() -> None:
    rng = Random(0)
    lengths = ((rng.randint(100, 1000), number) for number in count())
    num_batches, num_read = 2_000, 0
    seen: set[int] = set()
    batches = dynamic_batches(
        lengths, max_num_samples=10_000, max_queue_size=100, length=lambda s: s[0], rng=Random(1)
    )
    for batch in islice(batches, num_batches):
        seen.update(number for _, number in batch)
        num_read += len(batch)
    # Whatever came in is out again, up to what three queues hold.
    assert set(range(num_read - 300)) <= seen


def test_a_queue_smaller_than_a_batch_is_refilled() -> None:
    batches = list(islice(_dynamic((1 for _ in count()), max_num_samples=100, max_queue_size=5), 3))
    assert batches == [[1] * 5] * 3


def test_a_sample_that_fits_no_batch_is_named_with_the_option() -> None:
    sample = SpeakerSample(key="84/1/2", waveform=torch.zeros(21), speaker_id="x", speaker_index=0)
    batches = dynamic_batches(
        [sample],
        max_num_samples=20,
        max_queue_size=5,
        length=lambda each: len(each.waveform),
        rng=Random(0),
    )
    with pytest.raises(
        ValueError,
        match=r"84/1/2 \(21 samples\) must fit into a batch \(20\)\. "
        r"Raise speech\.dataloader\.train_max_num_samples",
    ):
        next(batches)
