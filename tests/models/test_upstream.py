import re
from pathlib import Path

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModel,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WhisperConfig,
)

from tests.helpers.small_networks import (
    NO_REGULARISATION,
    UPSTREAMS,
    load_small_upstream,
    small_config,
)
from w2v2_mt.models.loading_errors import list_architectures
from w2v2_mt.models.regularisation import Regularisation
from w2v2_mt.models.upstream import load_config, load_ctc_head

PROJECT_FOLDER = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("file", "beginning", "end"),
    [
        ("docs/training.md", "come with the package:", "With\n`reset_weights=true`"),
        ("config/network/wav2vec2.yaml", "shipped architecture", "), which has no weights"),
    ],
)
def test_the_shipped_architectures_are_those_that_users_read_of(file, beginning, end):
    text = (PROJECT_FOLDER / file).read_text(encoding="utf-8")
    names = re.findall(r"[a-z0-9-]*[a-z0-9]", text.split(beginning, 1)[1].split(end, 1)[0])
    # The one of +debug=smoke is not for users to name.
    assert sorted([*names, "smoke"]) == list_architectures()


@pytest.mark.parametrize("name", ["wav2vec2-base", "facebook/wav2vec2-base"])
def test_base_is_the_default_of_huggingface_and_needs_no_network(name):
    config = load_config(name, reset_weights=True)
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
        model = Wav2Vec2Model(load_config("wav2vec2-large-lv60", reset_weights=True))
    assert sum(p.numel() for p in model.parameters()) == 315_438_720


def test_weights_come_from_a_local_folder(tmp_path):
    torch.manual_seed(1)
    saved = Wav2Vec2Model(small_config("base"))
    saved.save_pretrained(tmp_path)
    loaded = load_small_upstream(tmp_path)
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
    loaded = load_small_upstream(tmp_path)
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
        load_small_upstream(tmp_path)


@pytest.mark.parametrize("damage", ["empty", "no json", "no weights", "cut off", "other shapes"])
def test_a_folder_that_holds_no_complete_model_is_reported_in_a_sentence(tmp_path, damage):
    if damage != "empty":
        Wav2Vec2ForCTC(small_config("base")).save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "no json":
        (tmp_path / "config.json").write_text("{")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-1_000])
    elif damage == "other shapes":
        small_config("base", intermediate_size=8).save_pretrained(tmp_path)
    for load in (
        lambda: load_small_upstream(tmp_path),
        lambda: load_ctc_head(str(tmp_path)),
    ):
        with pytest.raises(
            ValueError, match=r"^cannot load the folder .* copy them again"
        ) as error:
            load()
        assert len(str(error.value).splitlines()) == 1


def test_a_ctc_head_is_loaded_or_refused_where_there_is_none(tmp_path):
    saved = Wav2Vec2ForCTC(small_config("base"))
    saved.save_pretrained(tmp_path / "with")
    head = load_ctc_head(str(tmp_path / "with"))
    assert torch.equal(head.weight, saved.lm_head.weight)
    Wav2Vec2Model(small_config("base")).save_pretrained(tmp_path / "without")
    with pytest.raises(ValueError, match=r"lack lm_head\.bias \(2 tensors in all\)"):
        load_ctc_head(str(tmp_path / "without"))


def test_what_is_wrong_with_a_ctc_head_is_said_of_its_own_setting(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    WhisperConfig().save_pretrained(tmp_path / "whisper")
    small_config("base", quantization_config={"quant_method": "q"}).save_pretrained(tmp_path / "q")
    Wav2Vec2Model(small_config("base")).save_pretrained(tmp_path / "without")
    for name in ("whisper", "q", "without", "nobody/no-such-model"):
        path = tmp_path / name
        with pytest.raises(ValueError, match="speech_head_huggingface_id") as error:
            load_ctc_head(str(path) if path.exists() else name)
        assert "wav2vec_huggingface_id" not in str(error.value)
        assert "reset_weights" not in str(error.value)


def test_reset_weights_takes_only_the_architecture_of_a_local_folder(tmp_path):
    saved = Wav2Vec2Model(small_config("base"))
    saved.save_pretrained(tmp_path)
    loaded = load_small_upstream(tmp_path, reset_weights=True)
    name = "encoder.layers.0.attention.q_proj.weight"
    assert loaded.state_dict()[name].shape == saved.state_dict()[name].shape
    assert not torch.equal(loaded.state_dict()[name], saved.state_dict()[name])


def test_an_architecture_without_weights_is_refused():
    with pytest.raises(ValueError, match="'tiny' is an architecture without weights; set network"):
        load_config("tiny", reset_weights=False)


def test_a_model_that_cannot_be_had_says_what_to_do(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"(?s)cannot load.*set network.reset_weights=true"):
        load_small_upstream("nobody/no-such-model")


def test_another_kind_of_model_is_refused(tmp_path):
    WhisperConfig().save_pretrained(tmp_path)
    with pytest.raises(
        ValueError, match="is a 'whisper' model. Choose one of the kinds wav2vec2, hubert, wavlm"
    ):
        load_config(str(tmp_path), reset_weights=True)


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        ("base", {"add_adapter": True}, "must not have adapter layers"),
        ("large", {"adapter_attn_dim": 16}, "must not have adapter layers"),
        (
            "hubert-base",
            {"conv_pos_batch_norm": True},
            "must not normalize its positional convolution",
        ),
    ],
)
def test_parts_that_cannot_be_exact_are_refused(tmp_path, kind, changes, sentence):
    small_config(kind, **changes).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        load_config(str(tmp_path), reset_weights=True)


@pytest.mark.parametrize(
    ("name", "num_parameters"),
    [
        # As published: 94.4 M, 94.4 M and 93.2 M, with the vector for masked frames. WavLM has 320
        # biases for each of 12 heads, and in each of 12 layers a gate of 64 x 8 + 8 + 12 numbers,
        # more than HuBERT.
        ("facebook/hubert-base-ls960", 94_371_712),
        ("microsoft/wavlm-base-plus", 94_371_712 + 320 * 12 + 12 * (64 * 8 + 8 + 12)),
        ("facebook/data2vec-audio-base", 93_164_288),
    ],
)
def test_other_upstreams_have_the_published_size(name, num_parameters):
    config = load_config(name, reset_weights=True)
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    assert sum(p.numel() for p in model.parameters()) == num_parameters


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_each_upstream_comes_from_a_local_folder(tmp_path, kind):
    torch.manual_seed(1)
    saved = AutoModel.from_config(small_config(kind))
    saved.save_pretrained(tmp_path)
    loaded = load_small_upstream(tmp_path)
    assert type(loaded) is type(saved)
    for name, value in loaded.state_dict().items():
        torch.testing.assert_close(value, saved.state_dict()[name], msg=name)


@pytest.mark.parametrize("kind", sorted(UPSTREAMS))
def test_a_model_without_a_vector_for_masked_frames_gets_a_drawn_one(tmp_path, kind):
    AutoModel.from_config(small_config(kind, mask_time_prob=0.0)).save_pretrained(tmp_path)
    masking = Regularisation(**{**vars(NO_REGULARISATION), "mask_time_prob": 0.3})
    vectors = []
    for _ in range(2):
        torch.manual_seed(3)
        model = load_small_upstream(tmp_path, regularisation=masking)
        vectors.append(model.masked_spec_embed)
    assert ((vectors[0] >= 0) & (vectors[0] <= 1)).all()
    assert len(vectors[0].unique()) > 1
    assert torch.equal(vectors[0], vectors[1])
