"""A pooling, a way of sharing and an upstream outside this package, used by their dotted paths."""

import itertools
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tests.helpers.small_networks import SHARING, save_architecture, small_multi_task_network
from w2v2_mt.core.registry import trusting
from w2v2_mt.models.sharing import SHARING_WAYS

CONFIG_FOLDER = Path(__file__).parents[2] / "config"
NUM_SAMPLES = torch.tensor([8_000, 5_000])

POOLING = '''
import torch

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.core.padding import padding_mask
from w2v2_mt.models.pooling import Pooling


class TopK(Pooling):
    """The mean of the largest values of each dimension."""

    def __init__(self, dim: int, *, top_k: PositiveInt):
        super().__init__(dim)
        self.top_k = top_k

    def forward(self, frames, num_frames):
        is_valid = padding_mask(num_frames, frames.shape[1])[:, :, None]
        return torch.where(is_valid, frames, -1e4).topk(self.top_k, dim=1).values.mean(dim=1)


class AllLayers(Pooling):
    """The mean over layers and valid frames, each layer with a weight of its own."""

    needs_all_layers = True

    def __init__(self, dim: int, num_layers: int):
        super().__init__(dim)
        self.weights = torch.nn.Parameter(torch.ones(num_layers + 1))

    def forward(self, frames, num_frames):
        is_valid = padding_mask(num_frames, frames.shape[2])[:, :, None]
        sums = torch.where(is_valid, frames, 0).sum(dim=2) / num_frames[:, None]
        return (self.weights[:, None, None] * sums).mean(dim=0)
'''
ADAPTERS = '''
from dataclasses import dataclass

from torch import nn

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.models.sharing import SharingWay


@dataclass(frozen=True, kw_only=True)
class Adapters(SharingWay):
    """A bottleneck per task after the last layer."""

    adapter_dim: PositiveInt

    def build_module(self, task, shape):
        down, up = nn.Linear(shape.dim, self.adapter_dim), nn.Linear(self.adapter_dim, shape.dim)
        return nn.Sequential(down, nn.ReLU(), up)

    def adapt_frames(self, frames, *, task, module):
        return frames + module(frames)
'''
UPSTREAM = '''
from transformers import Wav2Vec2Config, Wav2Vec2Model

from w2v2_mt.models.upstream_kinds import UpstreamKind


class MyConfig(Wav2Vec2Config):
    model_type = "my-wav2vec2"


class MyModel(Wav2Vec2Model):
    config_class = MyConfig


class MyUpstream(UpstreamKind):
    """A model that transformers does not know."""

    model_class = MyModel
    config_class = MyConfig
'''


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    package = tmp_path / "my_lab"
    package.mkdir()
    for name, text in {"pooling": POOLING, "adapters": ADAPTERS, "upstream": UPSTREAM}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "my_lab"]:
        del sys.modules[name]


@pytest.fixture
def architecture(own_package, tmp_path):
    folder = tmp_path / "architecture"
    save_architecture(str(folder), "base")
    config = folder / "config.json"
    config.write_text(config.read_text().replace('"wav2vec2"', '"my-wav2vec2"'))
    return str(folder)


OWN = {
    "upstream_kind": "my_lab.upstream.MyUpstream",
    "stat_pooling_type": "my_lab.pooling.TopK",
    "top_k": 3,
    "sharing_ways": ["my_lab.adapters.Adapters"],
    "adapter_dim": 4,
}


def small_own_network(architecture, **changes):
    with trusting("my_lab"):
        return small_multi_task_network(architecture, **{**OWN, **changes})


@pytest.mark.parametrize("way", ["branched", "split"])
def test_own_classes_are_used_and_combine_with_registered_ways(architecture, way):
    network = small_own_network(architecture, **SHARING[way])
    waveforms = torch.randn(2, 8_000)
    waveforms[1, 5_000:] = 0
    for task in ("speech", "speaker"):
        output = network.answer(waveforms, NUM_SAMPLES, tasks=[task])[task]
        output.logits.square().mean().backward()
    assert type(network.trunk.backbone.kind).__name__ == "MyUpstream"
    assert network.speaker_head.pooling.top_k == 3
    adapters = [p for name, p in network.named_parameters() if ".adapters." in name]
    assert len(adapters) == 8
    assert all(p.grad is not None for p in network.parameters())
    assert not {*adapters} & {*network.split_parameters()[0]}
    with torch.no_grad():
        padded = torch.nn.functional.pad(waveforms, (0, 4_000))
        together = network.eval()(padded, NUM_SAMPLES).speaker.embeddings[1]
        alone = network(waveforms[1:, :5_000], NUM_SAMPLES[1:]).speaker.embeddings[0]
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)
    new = small_own_network(architecture, **SHARING[way])
    new.load_state_dict(network.state_dict(), strict=True)


def test_a_pooling_reads_all_layers_without_padding(architecture):
    changes = {"stat_pooling_type": "my_lab.pooling.AllLayers"}
    keys = {key: value for key, value in OWN.items() if key != "top_k"}
    with trusting("my_lab"):
        network = small_multi_task_network(architecture, **{**keys, **changes})
        with pytest.raises(ValueError, match=r"reads all layers .* Set network.layer_weights=last"):
            small_multi_task_network(
                architecture, **{**keys, **changes, "layer_weights": "learned"}
            )
    waveforms = torch.randn(2, 8_000)
    network.answer(waveforms, NUM_SAMPLES, tasks=["speaker"])["speaker"].logits.sum().backward()
    assert network.speaker_head.pooling.weights.grad.shape == (5,)
    assert (network.speaker_head.pooling.weights.grad != 0).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"top_k": 0}, r"network.top_k \(0\) must be greater than or equal to 1"),
        ({"adapter_dim": "4"}, r"network.adapter_dim \(4\) must be an integer"),
        ({"topk": 3}, "network.topk is not a setting of network. Did you mean 'top_k'"),
        ({"stat_pooling_type": "mean"}, "network.top_k is not a setting of network"),
    ],
)
def test_wrong_settings_of_own_classes_are_refused(architecture, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        small_own_network(architecture, **changes)


@pytest.mark.parametrize("key", ["upstream_kind", "stat_pooling_type", "sharing_ways"])
def test_own_classes_need_trust(architecture, key):
    with pytest.raises(ValueError, match="trust my_lab"):
        small_multi_task_network(architecture, **{key: OWN[key]})


def test_the_group_sharing_has_every_combination_of_registered_ways():
    names = SHARING_WAYS.names
    for size in range(len(names) + 1):
        for subset in itertools.combinations(names, size):
            path = CONFIG_FOLDER / "sharing" / f"{'_'.join(subset) or 'plain'}.yaml"
            settings = yaml.safe_load(path.read_text()) or {}
            if size > 1:
                assert settings == {"defaults": list(subset)}
            elif size == 1:
                assert settings["network"].keys() == SHARING[subset[0]].keys()  # type: ignore[attr-defined]
