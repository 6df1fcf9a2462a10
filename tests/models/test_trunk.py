import pytest
import torch
from transformers import PretrainedConfig, Wav2Vec2Model

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    save_architecture,
    small_config,
    small_speech_network,
)
from w2v2_mt.models.regularisation import Regularisation

WAVEFORMS, NUM_SAMPLES = torch.randn(2, 6_000), torch.tensor([6_000, 4_000])


@pytest.fixture
def architecture(tmp_path):
    return save_architecture(tmp_path, "base")


@pytest.mark.parametrize(
    ("initially_frozen", "num_frozen_steps", "expected"),
    [
        (True, 2, [True, True, False, False]),
        (True, None, [True] * 4),
        (False, 2, [False] * 4),
        (True, 0, [False] * 4),
    ],
)
def test_the_schedule_counts_optimizer_steps(
    architecture, initially_frozen, num_frozen_steps, expected
):
    trunk = small_speech_network(
        architecture, wav2vec_initially_frozen=initially_frozen, num_frozen_steps=num_frozen_steps
    ).trunk
    assert trunk.is_frozen == expected[0]
    for step in range(4):
        trunk.update_freezing(step=step)
        assert trunk.is_frozen == expected[step]


@pytest.mark.parametrize("reset_weights", [False, True])
def test_the_config_of_a_model_is_read_once(tmp_path, monkeypatch, reset_weights):
    Wav2Vec2Model(small_config("base")).save_pretrained(tmp_path)
    read = PretrainedConfig.get_config_dict
    folders = []

    def record(folder, **options):
        folders.append(folder)
        return read(folder, **options)

    monkeypatch.setattr(PretrainedConfig, "get_config_dict", record)
    small_speech_network(str(tmp_path), reset_weights=reset_weights)
    assert folders == [str(tmp_path)]


def trained_parameters(network):
    network.zero_grad()
    network(WAVEFORMS, NUM_SAMPLES).logits.square().sum().backward()
    return {name for name, parameter in network.named_parameters() if parameter.grad is not None}


def test_a_frozen_trunk_gets_no_gradient_and_is_unfrozen_at_its_step(architecture):
    network = small_speech_network(architecture, wav2vec_initially_frozen=True, num_frozen_steps=3)
    assert trained_parameters(network) == {"head.linear.weight", "head.linear.bias"}
    network.trunk.update_freezing(step=2)
    assert trained_parameters(network) == {"head.linear.weight", "head.linear.bias"}
    network.trunk.update_freezing(step=3)
    assert trained_parameters(network) == {name for name, _ in network.named_parameters()}


def test_a_frozen_trunk_is_in_eval_mode_whatever_is_asked(architecture):
    noisy = Regularisation(**{**vars(NO_REGULARISATION), "hidden_dropout": 0.5})
    network = small_speech_network(
        architecture,
        regularisation=noisy,
        wav2vec_initially_frozen=True,
        num_frozen_steps=1,
    )
    network.eval().train()
    assert not any(part.training for part in network.trunk.encoder.modules())
    assert network.head.training
    network.trunk.update_freezing(step=1)
    assert all(part.training for part in network.trunk.encoder.modules())
    network.eval()
    assert not any(part.training for part in network.modules())


def test_frozen_convolutions_never_train(architecture):
    network = small_speech_network(architecture, completely_freeze_feature_extractor=True)
    names = {name for name, _ in network.named_parameters()}
    frozen = {name for name in names if name.startswith("trunk.backbone.convolutions")}
    assert len(frozen) > 0
    assert trained_parameters(network) == names - frozen
    assert not any(p.requires_grad for p in network.trunk.backbone.convolutions.parameters())
    network.train()
    assert not network.trunk.backbone.convolutions.training


def test_a_waveform_too_short_for_one_frame_is_refused(architecture):
    network = small_speech_network(architecture)
    with pytest.raises(ValueError, match="399 samples, too few for one frame; give at least 400"):
        network(torch.randn(1, 399), torch.tensor([399]))
    assert network(torch.randn(1, 400), torch.tensor([400])).num_frames.tolist() == [1]


def test_an_utterance_without_a_frame_leaves_its_neighbours_finite(architecture):
    network = small_speech_network(architecture)
    output = network(torch.randn(2, 4_000), torch.tensor([4_000, 100]))
    assert output.num_frames.tolist() == [12, 0]
    assert output.logits.isfinite().all()
