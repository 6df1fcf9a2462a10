"""No network reads a value back from the device, which would make the host wait at each step.

Tensors on the device "meta" have no values: whatever asks for one (item, bool, nonzero, a mask as
an index) is an error there.
"""

import pytest
import torch

from tests.helpers.small_networks import (
    UPSTREAMS,
    save_architecture,
    sharing_combinations,
    small_multi_task_network,
)
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.sharing import SHARING_WAYS

WAYS_OF_SHARING = sharing_combinations(0, 1, len(SHARING_WAYS.names))

REGULARISED = Regularisation(
    activation_dropout=0.1,
    attention_dropout=0.1,
    feat_proj_dropout=0.1,
    hidden_dropout=0.1,
    final_dropout=0.1,
    layerdrop=0.5,
    mask_feature_length=4,
    mask_feature_prob=0.3,
    mask_time_length=3,
    mask_time_prob=0.3,
)


def test_meta_refuses_to_say_a_value():
    with pytest.raises(RuntimeError):
        torch.ones(2, device="meta").sum().item()


@pytest.mark.usefixtures("autocast_everywhere")
@pytest.mark.parametrize("pooling", ["mean", "mean+std"])
@pytest.mark.parametrize("sharing", WAYS_OF_SHARING)
@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_a_training_step_reads_no_value_back(tmp_path, kind, sharing, pooling):
    network = small_multi_task_network(
        save_architecture(tmp_path, kind),
        regularisation=REGULARISED,
        stat_pooling_type=pooling,
        **WAYS_OF_SHARING[sharing],
    ).to("meta")
    waveforms = torch.empty(2, 8_000, device="meta")
    num_samples = torch.empty(2, dtype=torch.int64, device="meta")
    letters = network.answer(waveforms, num_samples, tasks=["speech"])["speech"]
    speakers = network.answer(waveforms, num_samples, tasks=["speaker"])["speaker"]
    (letters.logits.mean() + speakers.logits.mean()).backward()


@pytest.mark.usefixtures("autocast_everywhere")
@pytest.mark.parametrize("sharing", WAYS_OF_SHARING)
@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_packing_reads_no_value_back_if_the_lengths_are_known(tmp_path, kind, sharing):
    network = small_multi_task_network(
        save_architecture(tmp_path, kind),
        regularisation=REGULARISED,
        pack_frames=True,
        **WAYS_OF_SHARING[sharing],
    ).to("meta")
    output = network.answer(
        torch.empty(3, 8_000, device="meta"),
        torch.empty(3, dtype=torch.int64, device="meta"),
        rows={"speech": torch.tensor([0, 1]), "speaker": torch.tensor([2])},
        known_lengths=[8_000, 8_000, 5_000],
    )
    (output["speech"].logits.mean() + output["speaker"].logits.mean()).backward()
