"""Folders that are not models, each with one sentence of what is wrong."""

import json
import re
from pathlib import Path

import pytest
from transformers import Wav2Vec2Model

from tests.helpers.small_networks import load_small_upstream, save_architecture, small_config
from w2v2_mt.models.upstream import load_config

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 2\n"


@pytest.fixture
def model(tmp_path) -> Path:
    folder = tmp_path / "model"
    Wav2Vec2Model(small_config("base", num_hidden_layers=1)).save_pretrained(folder)
    return folder


def assert_refused(name: object, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as error:
        load_small_upstream(name)
    assert str(name) in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("content", [b"", LFS_POINTER], ids=["empty", "git-lfs"])
def test_a_file_that_was_not_copied_whole_is_named(model, name, content):
    if name.endswith(".bin"):
        (model / "model.safetensors").unlink()
    (model / name).write_bytes(content)
    remedy = "run `git lfs pull`" if content else "copy it again"
    assert_refused(model, f"its {name} is {'a pointer of git-lfs' if content else 'empty'}")
    assert_refused(model, remedy)


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("hidden_act", "nope", "(hidden_act 'nope' is not an activation of transformers)"),
        ("feat_extract_activation", "nope", "(feat_extract_activation 'nope' is not an"),
        ("hidden_size", "32", "'hidden_size' expected int, got str"),
        ("feat_extract_norm", "batch", "has to be one of ['group', 'layer']"),
        ("conv_kernel", [10, 3], "Configuration for convolutional layers is incorrect"),
    ],
)
def test_a_wrong_value_of_the_config_is_named(model, key, value, problem):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, key: value}))
    assert_refused(model, problem)


@pytest.mark.parametrize("content", ["null", "[1]", "3"])
def test_a_config_that_is_not_an_object_is_refused(model, content):
    (model / "config.json").write_text(content)
    assert_refused(model, "config.json must be one JSON object")


@pytest.mark.parametrize("name", ["./tiny", "../a/model", "/no/folder", "~/model", "a/b/c"])
@pytest.mark.parametrize("reset_weights", [False, True])
def test_a_missing_folder_is_not_to_be_downloaded(tmp_path, monkeypatch, name, reset_weights):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="this folder does not exist") as error:
        load_config(name, reset_weights=reset_weights)
    assert "hf download" not in str(error.value)


@pytest.mark.parametrize("content", ["nothing", "a model"])
def test_a_folder_does_not_shadow_a_shipped_architecture(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    expected = load_config("tiny", reset_weights=True).hidden_size
    (tmp_path / "tiny").mkdir()
    if content == "a model":
        save_architecture("tiny", "base", hidden_size=64)
        assert load_config("./tiny", reset_weights=True).hidden_size == 64
    assert load_config("tiny", reset_weights=True).hidden_size == expected
