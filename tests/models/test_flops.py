"""Useful FLOPs, compared with what torch counts in the forward and backward passes of a network."""

from contextlib import nullcontext
from dataclasses import replace
from math import prod

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    save_architecture,
    sharing_combinations,
    small_multi_task_network,
    small_speaker_network,
)
from w2v2_mt.core.batches import BatchLengths
from w2v2_mt.models.flops import UsefulFlops
from w2v2_mt.models.pooling import POOLINGS
from w2v2_mt.models.sharing import SHARING_WAYS

pytestmark = pytest.mark.usefixtures("autocast_everywhere")

WAYS_OF_SHARING = sharing_combinations(0, 1, len(SHARING_WAYS.names))
SPEECH = BatchLengths(num_samples=[64_000] * 2, max_num_samples=64_000, rows={"speech": None})
SPEAKER = BatchLengths(num_samples=[48_000] * 3, max_num_samples=48_000, rows={"speaker": None})
JOINT = BatchLengths(
    num_samples=[64_000] * 4, max_num_samples=64_000, rows={"speech": [0, 1, 2], "speaker": [1, 3]}
)
TOLERANCE = 0.001
"""Not counted are the products in poolings and a frame that the positional convolution drops."""


def count_convolution_backward(gradient_shape, _, weight_shape, *arguments, **__):
    """Count each gradient as the forward pass; torch counts that of weights once per group."""
    output_mask = arguments[-1]
    return 2 * prod(gradient_shape) * prod(weight_shape[1:]) * sum(output_mask[:2])


class WithoutModules(nullcontext):
    """A tracker of modules that tracks none: that of torch fails where gradients are off."""

    parents = ("Global",)


def counted_by_torch(network, batches):
    """Count the FLOPs of a step on the device "meta", which has no values."""
    network = network.to("meta").train()
    mapping = {torch.ops.aten.convolution_backward: count_convolution_backward}
    counter = FlopCounterMode(display=False, custom_mapping=mapping)
    counter.mod_tracker = WithoutModules()  # type: ignore[assignment]
    with counter:
        loss = torch.zeros((), device="meta")
        for batch in batches:
            rows = {
                task: None if rows is None else torch.tensor(rows, device="meta")
                for task, rows in batch.rows.items()
            }
            shape = (len(batch.num_samples), batch.max_num_samples)
            num_samples = torch.empty(shape[0], dtype=torch.int64, device="meta")
            waveforms = torch.empty(shape, device="meta")
            outputs = network.answer(waveforms, num_samples, tasks=list(rows), rows=rows)
            loss = loss + sum(output.logits.mean() for output in outputs.values())
        loss.backward()
    return sum(counter.get_flop_counts()["Global"].values())


def check_count(network, batches, *, tolerance=TOLERANCE):
    assert UsefulFlops(network).count_step(batches) == pytest.approx(
        counted_by_torch(network, batches), rel=tolerance
    )


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


@pytest.mark.parametrize("sharing", WAYS_OF_SHARING)
@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_torch_counts_the_same_for_each_upstream_and_way_of_sharing(tmp_path, kind, sharing):
    network = small_multi_task_network(
        save_architecture(tmp_path, kind), **WAYS_OF_SHARING[sharing]
    )
    check_count(network, [SPEECH, SPEAKER])


@pytest.mark.parametrize("sharing", WAYS_OF_SHARING)
def test_a_joint_batch_runs_the_encoder_once_and_each_head_on_its_rows(architecture, sharing):
    check_count(small_multi_task_network(architecture, **WAYS_OF_SHARING[sharing]), [JOINT])


FROZEN = {"wav2vec_initially_frozen": True}
FROZEN_CONVOLUTIONS = {"completely_freeze_feature_extractor": True}


@pytest.mark.parametrize("sharing", WAYS_OF_SHARING)
@pytest.mark.parametrize("frozen", [FROZEN, FROZEN_CONVOLUTIONS])
@pytest.mark.parametrize("kind", ["wav2vec2-base", "hubert-without-norm"])
def test_frozen_parts_have_no_backward_pass(tmp_path, kind, frozen, sharing):
    network = small_multi_task_network(
        save_architecture(tmp_path, kind), **frozen, **WAYS_OF_SHARING[sharing]
    )
    check_count(network, [SPEECH, SPEAKER])


def test_an_encoder_that_is_unfrozen_counts_with_its_backward_pass(architecture):
    network = small_multi_task_network(architecture, **FROZEN | {"num_frozen_steps": 3})
    counter = UsefulFlops(network)
    frozen = counter.count_step([SPEECH])
    network.trunk.update_freezing(step=3)
    assert counter.count_step([SPEECH]) == pytest.approx(3 * frozen, rel=0.05)
    check_count(network, [SPEECH])


@pytest.mark.parametrize("pooling", POOLINGS.names)
def test_each_pooling_is_counted_up_to_its_sums(architecture, pooling):
    network = small_speaker_network(architecture, stat_pooling_type=pooling, num_speakers=50)
    check_count(network, [SPEAKER], tolerance=0.005)


@pytest.mark.parametrize(
    "keys", [{}, FROZEN_CONVOLUTIONS, FROZEN, {"use_multi_branch_encoder": True}]
)
def test_torch_counts_the_same_for_wav2vec2_base(keys):
    network = small_multi_task_network("wav2vec2-base", num_speakers=1211, **keys)
    check_count(network, [SPEECH, SPEAKER])


def test_padding_and_gradient_checkpointing_are_not_useful(architecture):
    plain = UsefulFlops(small_multi_task_network(architecture))
    assert plain.count_step([replace(SPEECH, max_num_samples=100_000)]) == plain.count_step(
        [SPEECH]
    )
    checkpointed = small_multi_task_network(architecture, use_gradient_checkpointing=True)
    assert UsefulFlops(checkpointed).count_step([SPEECH]) == plain.count_step([SPEECH])


def test_an_utterance_counts_the_same_in_each_batch(architecture):
    counter = UsefulFlops(small_multi_task_network(architecture))
    lengths = [64_000, 20_000, 33_333]
    apart = [replace(SPEECH, num_samples=[each], max_num_samples=each) for each in lengths]
    together = replace(SPEECH, num_samples=lengths)
    assert counter.count_step([together]) == pytest.approx(counter.count_step(apart))


def test_of_layers_that_are_dropped_the_expected_part_counts(architecture):
    regularisation = replace(NO_REGULARISATION, layerdrop=0.5)
    none, half = (
        UsefulFlops(small_multi_task_network(architecture, **keys)).count_step([SPEECH])
        for keys in ({}, {"regularisation": regularisation})
    )
    # All four layers: 4 d^2 + 2 d d_ff weights per frame, and 2 d products per pair of frames.
    num_frames, dim = 199, 32
    layer = num_frames * (4 * dim**2 + 2 * dim * 48) + 2 * dim * num_frames**2
    assert none - half == pytest.approx(2 * 3 * 2 * 4 * layer / 2)
