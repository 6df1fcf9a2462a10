import torch

from w2v2_mt.core.padding import frames_from_samples

WAV2VEC2 = {"kernel_sizes": [10, 3, 3, 3, 3, 2, 2], "strides": [5, 2, 2, 2, 2, 2, 2]}


def test_wav2vec2_makes_49_frames_of_a_second_and_one_of_400_samples():
    assert frames_from_samples(16_000, **WAV2VEC2) == 49
    assert frames_from_samples(400, **WAV2VEC2) == 1
    assert frames_from_samples(719, **WAV2VEC2) == 1
    assert frames_from_samples(720, **WAV2VEC2) == 2


def test_less_than_one_receptive_field_gives_zero_frames():
    assert frames_from_samples(399, **WAV2VEC2) == 0
    assert frames_from_samples(0, **WAV2VEC2) == 0


def test_a_tensor_of_lengths_gives_what_each_length_gives():
    lengths = torch.tensor([0, 399, 400, 16_000, 123_456])
    expected = [frames_from_samples(int(length), **WAV2VEC2) for length in lengths]
    assert frames_from_samples(lengths, **WAV2VEC2).tolist() == expected
