"""A folder of a pretrained model names code; none of it may be loaded."""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import transformers
from transformers import AutoModelForCTC, Wav2Vec2ForCTC

from tests.helpers.small_networks import load_small_upstream, small_config
from tests.security.conftest import Traps
from w2v2_mt.models.upstream import config_from_settings, load_ctc_head

HUB_KERNEL = "somebody/their-attention"
ATTENTION_KEYS = ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"]


@pytest.fixture(scope="module")
def model_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small wav2vec2 model with a CTC head."""
    folder = tmp_path_factory.mktemp("model")
    Wav2Vec2ForCTC(small_config("base")).save_pretrained(folder)
    return folder


@pytest.fixture
def theirs(model_files: Path, tmp_path: Path, traps: Traps) -> Any:
    """Write a copy of the model with other entries in its config and a module of Python."""

    def write(**entries: Any) -> str:
        folder = tmp_path / "theirs"
        folder.mkdir(exist_ok=True)
        config = json.loads((model_files / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, **entries}))
        code = f"import os\nos.system({traps.command!r})\nclass Config: pass\nclass Model: pass\n"
        (folder / "code.py").write_text(code)
        if not (folder / "model.safetensors").exists():
            (folder / "model.safetensors").symlink_to(model_files / "model.safetensors")
        return str(folder)

    return write


@pytest.fixture(autouse=True)
def says_yes(monkeypatch):
    """A user who answers each question of transformers with yes, and a cache of modules apart."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")


@pytest.fixture
def loaded_kernels(monkeypatch):
    """The names of the kernels that transformers asks the package `kernels` for."""
    names: list[str] = []
    hub_kernels = transformers.integrations.hub_kernels
    for name in ("load_and_register_attn_kernel", "get_kernel"):
        if hasattr(hub_kernels, name):
            monkeypatch.setattr(hub_kernels, name, lambda each, *_, **__: names.append(each))
    package: Any = ModuleType("kernels")
    package.get_kernel = lambda each, *_, **__: names.append(each)
    monkeypatch.setitem(sys.modules, "kernels", package)
    return names


def ways_of_loading(folder: str) -> list[Any]:
    """Return every function that reads a folder of a model."""
    return [
        lambda: load_small_upstream(folder),
        lambda: load_small_upstream(folder, reset_weights=True),
        lambda: load_ctc_head(folder),
    ]


AUTO_MAP = {"AutoConfig": "code.Config", "AutoModel": "code.Model", "AutoModelForCTC": "code.Model"}


@pytest.mark.parametrize("model_type", ["their-wav2vec2", None, ["wav2vec2"]])
def test_code_of_a_model_of_an_unknown_kind_is_not_run(theirs, watched, model_type):
    folder = theirs(model_type=model_type, auto_map=AUTO_MAP)
    for load in ways_of_loading(folder):
        with watched(), pytest.raises(ValueError, match="Choose one of the kinds wav2vec2, hubert"):
            load()


def test_code_next_to_a_model_of_a_known_kind_is_not_run(theirs, watched):
    folder = theirs(auto_map=AUTO_MAP)
    for load in ways_of_loading(folder):
        with watched():
            model = load()
        assert type(model).__module__.split(".")[0] in ("transformers", "torch")
        assert not hasattr(getattr(model, "config", None), "auto_map")


@pytest.mark.parametrize("key", ATTENTION_KEYS)
@pytest.mark.parametrize("value", [HUB_KERNEL, {"": HUB_KERNEL}, f"paged|{HUB_KERNEL}@main:run"])
def test_no_attention_of_the_hub_is_loaded(theirs, watched, loaded_kernels, key, value):
    folder = theirs(**{key: value})
    for load in ways_of_loading(folder):
        with watched():
            load()
    config = json.loads((Path(folder) / "config.json").read_text())
    AutoModelForCTC.from_config(config_from_settings(config))
    assert loaded_kernels == []


def test_a_quantized_model_is_refused(theirs, watched):
    folder = theirs(quantization_config={"quant_method": "their_method"})
    for load in ways_of_loading(folder):
        with watched(), pytest.raises(ValueError, match="must not be quantized"):
            load()


@pytest.mark.parametrize(
    "entries",
    [
        {"hidden_act": "os.system"},
        {"dtype": "their_dtype"},
        {"conv_dim": "many"},
        {"num_hidden_layers": "12"},
        {"hidden_size": 2**40},
    ],
)
def test_a_wrong_value_in_a_config_is_a_sentence(theirs, watched, entries):
    folder = theirs(**entries)
    for load in ways_of_loading(folder)[:2]:
        with watched(), pytest.raises(ValueError, match="^cannot load the folder") as error:
            load()
        assert len(str(error.value).splitlines()) == 1


def test_weights_that_are_a_pickle_with_a_command_are_refused(theirs, watched, traps):
    folder = Path(theirs())
    (folder / "model.safetensors").unlink()
    # A pickle that calls os.system, as protocol 0 writes it.
    payload = f"cos\nsystem\n(S{traps.command!r}\ntR.".encode()
    (folder / "pytorch_model.bin").write_bytes(payload)
    for load in (ways_of_loading(str(folder))[0], ways_of_loading(str(folder))[2]):
        with watched(), pytest.raises(ValueError, match="^cannot load .* names code, .* not run"):
            load()
