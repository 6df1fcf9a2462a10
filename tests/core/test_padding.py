import pytest
import torch

from w2v2_mt.core.padding import (
    MAX_BYTES_BY_VALUE,
    frames_from_samples,
    is_known_unpadded,
    pad_sequences,
    padding_mask,
)


def test_a_mask_is_true_where_an_element_is_real():
    mask = padding_mask(torch.tensor([0, 1, 3]), 3)
    assert mask.tolist() == [[False] * 3, [True, False, False], [True] * 3]


def test_sequences_are_padded_at_the_end_and_keep_their_lengths():
    padded, lengths = pad_sequences([torch.tensor([1.0, 2.0]), torch.tensor([3.0])])
    assert padded.tolist() == [[1.0, 2.0], [3.0, 0.0]]
    assert lengths.tolist() == [2, 1]


def test_padding_in_shared_memory_is_the_same_for_small_and_large_tensors():
    for longest in (10, MAX_BYTES_BY_VALUE):
        sequences = [torch.arange(1.0, length + 1) for length in (3, longest, 7)]
        shared, lengths = pad_sequences(sequences, in_shared_memory=True)
        expected, _ = pad_sequences(sequences)
        assert torch.equal(shared, expected)
        assert lengths.tolist() == [3, longest, 7]
        assert shared.is_shared() == (longest > 10)


def test_only_full_rows_are_known_to_be_unpadded():
    assert is_known_unpadded(torch.tensor([3, 3]), 3)
    assert not is_known_unpadded(torch.tensor([3, 2]), 3)


def test_lengths_on_a_device_are_never_asked_for():
    lengths = torch.tensor([3, 3], device="meta")  # Reading a value would be an error.
    assert not is_known_unpadded(lengths, 3)


@pytest.mark.parametrize("divide", ["floor", "trunc"])
def test_frames_are_the_same_however_negative_numbers_are_divided(monkeypatch, divide):
    """A graph of ONNX rounds towards zero: a waveform of 1 sample had one frame there."""
    monkeypatch.setattr(
        torch.Tensor, "__floordiv__", lambda a, b: torch.div(a, b, rounding_mode=divide)
    )
    lengths = list(range(1000))
    sizes = {"kernel_sizes": (10, 3, 3, 3, 3, 2, 2), "strides": (5, 2, 2, 2, 2, 2, 2)}
    counts = frames_from_samples(torch.tensor(lengths), **sizes).tolist()
    assert counts == [frames_from_samples(length, **sizes) for length in lengths]
    assert counts[:400] == [0] * 400
    assert counts[400] == 1
