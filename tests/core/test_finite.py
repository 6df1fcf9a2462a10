import pytest
import torch

from w2v2_mt.core.finite import check_finite, find_non_finite


def test_only_valid_frames_count():
    values = torch.zeros(3, 4, 2)
    values[0, 3, 1] = float("nan")
    values[2, 1, 0] = float("-inf")
    assert find_non_finite(values, torch.tensor([3, 4, 2])) == [2]
    assert find_non_finite(values) == [0, 2]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_utterances_are_named(value):
    embeddings = torch.zeros(7, 2)
    embeddings[1:] = value
    keys = [f"id{number}" for number in range(7)]
    with pytest.raises(ValueError, match="embeddings of id1, id2, id3, id4, id5 and 1 more must"):
        check_finite(embeddings, what="embeddings", keys=keys)
