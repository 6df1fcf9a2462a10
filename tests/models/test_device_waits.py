"""No network reads a value back from the device, which would make the host wait at each step.

Tensors on the device "meta" have no values: whatever asks for one (item, bool, nonzero, a mask as
an index) is an error there.
"""

import pytest
import torch
from small_networks import UPSTREAMS, save_architecture, small_multi_task_network
from test_networks import SHARING

from w2v2_mt.models.regularisation import Regularisation

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
@pytest.mark.parametrize("sharing", sorted(SHARING))
@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_a_training_step_reads_no_value_back(tmp_path, kind, sharing, pooling):
    network = small_multi_task_network(
        save_architecture(tmp_path, kind),
        regularisation=REGULARISED,
        layer_weights="learned",
        stat_pooling_type=pooling,
        **SHARING[sharing],
    ).to("meta")
    waveforms = torch.empty(2, 8_000, device="meta")
    num_samples = torch.empty(2, dtype=torch.int64, device="meta")
    letters = network.speech(waveforms, num_samples)
    speakers = network.speaker(waveforms, num_samples)
    (letters.logits.mean() + speakers.logits.mean()).backward()
