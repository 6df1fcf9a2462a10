import pytest
import torch

from w2v2_mt.models.packed_attention import attend_at_once, attend_run_by_run
from w2v2_mt.models.packing import Packing

LENGTHS = (2, 3, 3, 0, 1)
PADDED = torch.tensor([[1, 2, 0], [3, 4, 5], [6, 7, 8], [0, 0, 0], [9, 0, 0]]).float()
PACKED = torch.arange(1.0, 10)[None]


def test_packed_frames_are_the_valid_ones_and_are_padded_with_zeros_again():
    packing = Packing(LENGTHS)
    assert torch.equal(packing.pack(PADDED), PACKED)
    assert torch.equal(packing.unpack(PACKED), PADDED)
    assert packing.total == 9
    assert packing.longest == 3


def test_a_batch_without_padding_is_only_viewed_in_another_shape():
    frames = torch.randn(2, 3, 4)
    packed = Packing((3, 3)).pack(frames)
    assert packed.shape == (1, 6, 4)
    assert packed.data_ptr() == frames.data_ptr() == Packing((3, 3)).unpack(packed).data_ptr()


def test_neighbours_of_equal_length_are_computed_at_once_and_empty_ones_never():
    calls = []

    def last_first(utterances):
        calls.append(utterances.tolist())
        return utterances.flip(1)

    flipped = Packing(LENGTHS).map(last_first, PACKED)
    assert calls == [[[1, 2]], [[3, 4, 5], [6, 7, 8]], [[9]]]
    assert flipped.tolist() == [[2, 1, 5, 4, 3, 8, 7, 6, 9]]


def test_rows_are_selected_in_their_order():
    packing = Packing(LENGTHS)
    assert packing.select(PACKED, [4, 3, 1]).tolist() == [[9, 3, 4, 5]]
    assert packing.rows([4, 3, 1]).lengths == (1, 0, 3)


def test_values_of_an_utterance_reach_each_of_its_frames():
    values = torch.tensor([[1.0], [2], [3], [4], [5]])
    assert Packing(LENGTHS).repeat(values)[0, :, 0].tolist() == [1, 1, 2, 2, 2, 3, 3, 3, 5]


def test_a_frame_precedes_those_of_each_utterance():
    longer = Packing((2, 0, 1)).prepend(torch.tensor([7.0]), torch.tensor([[[1.0], [2], [3]]]))
    assert longer[0, :, 0].tolist() == [7, 1, 2, 7, 7, 3]


@pytest.mark.parametrize("operation", ["pack", "unpack", "map", "select"])
def test_gradients_reach_the_frames_that_are_used(operation):
    packing = Packing(LENGTHS)
    frames = (PADDED if operation == "pack" else PACKED).double().requires_grad_()
    function = {
        "pack": packing.pack,
        "unpack": packing.unpack,
        "map": lambda frames: packing.map(lambda utterances: utterances.cumsum(1), frames),
        "select": lambda frames: packing.select(frames, [1, 4]),
    }[operation]
    assert torch.autograd.gradcheck(function, [frames])


@pytest.mark.parametrize("lengths", [(5, 3, 3, 4), (4, 4)])
def test_one_kernel_for_all_lengths_equals_one_for_each(lengths):
    packing = Packing(lengths)
    tensors = [torch.randn(1, packing.total, 2, 8).requires_grad_() for _ in range(3)]
    results = []
    for attend in (attend_run_by_run, attend_at_once):
        attended = attend(*tensors, packing=packing, dropout=0.0, scaling=0.3)
        weights = torch.linspace(-1, 1, attended.numel()).view_as(attended)
        gradients = torch.autograd.grad((attended * weights).sum(), tensors)
        results.append([attended, *gradients])
    for run_by_run, at_once in zip(*results, strict=True):
        torch.testing.assert_close(run_by_run, at_once)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="it runs on a GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gpu_attends_as_the_cpu(dtype):
    packing = Packing((70, 40, 40, 55))
    tensors = torch.randn(3, 1, packing.total, 4, 64)
    options = {"packing": packing, "dropout": 0.0, "scaling": 0.125}
    on_cpu = attend_run_by_run(*tensors, **options)
    on_gpu = attend_at_once(*tensors.to("cuda", dtype), **options)
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(on_gpu.cpu().float(), on_cpu, atol=tolerance, rtol=tolerance)


def test_no_utterance_attends_to_another():
    packing = Packing((3, 2, 2))
    query, key, value = torch.randn(3, 1, 7, 2, 8)
    options = {"packing": packing, "dropout": 0.0, "scaling": None}
    before = attend_run_by_run(query, key, value, **options)
    key[:, 3:5], value[:, 3:5] = 100, 100
    after = attend_run_by_run(query, key, value, **options)
    changed = (before != after).flatten(2).any(2)[0]
    assert changed.tolist() == [False] * 3 + [True] * 2 + [False] * 2
