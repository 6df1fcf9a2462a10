import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_networks import NO_REGULARISATION, small_config
from transformers import (
    HubertConfig,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
)

from w2v2_mt.models.wav2vec2 import (
    load_letter_head,
    load_wav2vec2,
    shipped_architectures,
    wav2vec2_config,
)


def test_the_shipped_architectures_are_those_of_the_readme():
    assert shipped_architectures() == [
        "smoke",
        "tiny",
        "wav2vec2-base",
        "wav2vec2-large",
        "wav2vec2-large-lv60",
    ]


@pytest.mark.parametrize("name", ["wav2vec2-base", "facebook/wav2vec2-base"])
def test_base_is_the_default_of_huggingface_and_needs_no_network(name):
    config = wav2vec2_config(name, reset_weights=True)
    default = Wav2Vec2Config()
    for key in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size"):
        assert getattr(config, key) == getattr(default, key)
    for key in ("conv_dim", "conv_stride", "conv_kernel"):
        assert list(getattr(config, key)) == list(getattr(default, key))
    with torch.device("meta"):
        model = Wav2Vec2Model(config)
    # 94.4 million: the published size, with the vector for masked frames.
    assert sum(p.numel() for p in model.parameters()) == 94_371_712


def test_large_has_the_published_size():
    with torch.device("meta"):
        model = Wav2Vec2Model(wav2vec2_config("wav2vec2-large-lv60", reset_weights=True))
    assert sum(p.numel() for p in model.parameters()) == 315_438_720


def test_weights_come_from_a_local_folder(tmp_path):
    torch.manual_seed(1)
    saved = Wav2Vec2Model(small_config("base"))
    saved.save_pretrained(tmp_path)
    loaded = load_wav2vec2(str(tmp_path), reset_weights=False, regularisation=NO_REGULARISATION)
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, saved.state_dict()[name], msg=name)


@pytest.mark.parametrize("kind", [Wav2Vec2ForPreTraining, Wav2Vec2ForCTC])
def test_weights_as_the_hub_has_them_are_complete(tmp_path, kind):
    # The official files name the parts of the positional convolution's weight norm in the old way,
    # and hold heads, behind a prefix.
    torch.manual_seed(1)
    saved = kind(small_config("base"))
    saved.save_pretrained(tmp_path)
    names = {"parametrizations.weight.original0": "weight_g"}
    names |= {"parametrizations.weight.original1": "weight_v"}
    tensors = load_file(tmp_path / "model.safetensors")
    for new, old in names.items():
        tensors = {name.replace(new, old): value for name, value in tensors.items()}
    assert any(name.endswith("weight_g") for name in tensors)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = load_wav2vec2(str(tmp_path), reset_weights=False, regularisation=NO_REGULARISATION)
    expected = saved.wav2vec2.state_dict()
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, expected[name], msg=name)


def test_a_model_that_lacks_weights_is_refused(tmp_path):
    Wav2Vec2Model(small_config("base")).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    kept = {name: value for name, value in tensors.items() if "layers.0.feed_forward" not in name}
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        ValueError, match=r"lack encoder\.layers\.0\.feed_forward.*\(4 tensors in all"
    ):
        load_wav2vec2(str(tmp_path), reset_weights=False, regularisation=NO_REGULARISATION)


def test_a_letter_head_is_loaded_or_refused_where_there_is_none(tmp_path):
    saved = Wav2Vec2ForCTC(small_config("base"))
    saved.save_pretrained(tmp_path / "with")
    head = load_letter_head(str(tmp_path / "with"))
    assert torch.equal(head.weight, saved.lm_head.weight)
    Wav2Vec2Model(small_config("base")).save_pretrained(tmp_path / "without")
    with pytest.raises(ValueError, match=r"lack lm_head\.bias \(2 tensors in all\)"):
        load_letter_head(str(tmp_path / "without"))


def test_reset_weights_takes_only_the_architecture_of_a_local_folder(tmp_path):
    saved = Wav2Vec2Model(small_config("base"))
    saved.save_pretrained(tmp_path)
    loaded = load_wav2vec2(str(tmp_path), reset_weights=True, regularisation=NO_REGULARISATION)
    name = "encoder.layers.0.attention.q_proj.weight"
    assert loaded.state_dict()[name].shape == saved.state_dict()[name].shape
    assert not torch.equal(loaded.state_dict()[name], saved.state_dict()[name])


def test_an_architecture_without_weights_is_refused():
    with pytest.raises(ValueError, match="'tiny' is an architecture without weights; set network"):
        wav2vec2_config("tiny", reset_weights=False)


def test_a_model_that_cannot_be_had_says_what_to_do(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"(?s)cannot load.*set network.reset_weights=true"):
        load_wav2vec2("nobody/no-such-model", reset_weights=False, regularisation=NO_REGULARISATION)


def test_another_kind_of_model_is_refused(tmp_path):
    HubertConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="is a 'hubert' model; only 'wav2vec2' models"):
        wav2vec2_config(str(tmp_path), reset_weights=True)
