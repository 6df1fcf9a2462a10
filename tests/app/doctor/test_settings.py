from pathlib import Path

import pytest

from w2v2_mt.app.doctor import settings
from w2v2_mt.app.doctor.finding import State, lines_of


def test_an_env_file_is_suggested_but_not_required(tmp_path):
    assert settings.env_file(tmp_path).commands == ("cp .env.example .env",)
    (tmp_path / ".env").touch()
    assert settings.env_file(tmp_path).state is State.OK


def test_folders_are_told_with_the_space_that_they_have_or_will_have(tmp_path):
    environment = {
        "DATA_FOLDER": str(tmp_path),
        "LOG_FOLDER": str(tmp_path / "not" / "yet"),
        "TEMP_FOLDER": str(tmp_path / "file"),
    }
    (tmp_path / "file").touch()
    data, log, temp = settings.folders(environment)
    assert data.found.startswith(f"{tmp_path}, ")
    assert data.found.endswith(" GB free")
    assert log.found.endswith("GB free (made when it is needed)")
    assert (temp.state, temp.found) == (State.MISSING, f"{tmp_path / 'file'}: cannot be written")


def test_a_container_with_little_shared_memory_is_told_so(tmp_path):
    assert settings.shared_memory(tmp_path).state is State.OK  # Of a whole disk.
    assert settings.shared_memory(tmp_path / "none").state is State.NOTE


@pytest.mark.parametrize(
    ("environment", "netrc", "state"),
    [
        ({}, "", State.NOTE),
        ({"USE_WANDB": "true"}, "", State.MISSING),
        ({"USE_WANDB": "true", "WANDB_MODE": "offline"}, "", State.OK),
        ({"WANDB_API_KEY": "verysecret"}, "", State.OK),
        ({}, "machine api.wandb.ai login user password verysecret", State.OK),
        ({}, "machine other.host login user password verysecret", State.NOTE),
        ({}, "neither machine nor anything else: verysecret", State.NOTE),
    ],
)
def test_a_login_is_found_and_never_told(tmp_path, environment, netrc, state):
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / ".netrc").chmod(0o600)
    found = settings.wandb_login(environment, home=tmp_path)
    assert found.state is state
    assert "verysecret" not in "".join(lines_of([found], num_columns=80))


def test_weights_that_settings_name_are_looked_for_in_the_cache_alone(tmp_path):
    config = tmp_path / "config" / "network"
    config.mkdir(parents=True)
    (config / "one.yaml").write_text(
        "wav2vec_huggingface_id: group/model  # Any.\nspeech_head_huggingface_id: null\n"
    )
    (config / "two.yaml").write_text("wav2vec_huggingface_id: tiny\nother: a/b\n")
    environment = {"HF_HOME": str(tmp_path / "cache")}
    (found,) = settings.pretrained_weights(environment, tmp_path / "config")
    assert (found.subject, found.state) == ("group/model", State.NOTE)
    assert found.commands == ("hf download group/model",)

    snapshot = tmp_path / "cache" / "hub" / "models--group--model" / "snapshots" / "1a2b"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (found,) = settings.pretrained_weights(environment, tmp_path / "config")
    assert found.state is State.NOTE
    (snapshot / "model.safetensors").symlink_to(tmp_path / "lost")
    (found,) = settings.pretrained_weights(environment, tmp_path / "config")
    assert found.state is State.NOTE
    (tmp_path / "lost").touch()
    (found,) = settings.pretrained_weights(environment, tmp_path / "config")
    assert (found.state, found.commands) == (State.OK, ())


def test_the_default_network_of_the_project_is_among_the_weights(tmp_path):
    names = [found.subject for found in settings.pretrained_weights({"HF_HOME": str(tmp_path)})]
    assert names == ["facebook/wav2vec2-base"]


def test_an_empty_home_of_huggingface_is_the_usual_one(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (found,) = settings.pretrained_weights({"HF_HOME": ""})
    assert str(Path(tmp_path, ".cache", "huggingface", "hub")) in found.found
