from pathlib import Path

import pytest

from w2v2_mt.app.doctor import machine as checks
from w2v2_mt.app.doctor.finding import Finding, State, format_findings


@pytest.fixture
def find(tmp_path):
    def find_in(folder: Path = tmp_path, **environment: str) -> dict[str, Finding]:
        folders = dict.fromkeys(("DATA_FOLDER", "LOG_FOLDER", "TEMP_FOLDER"), str(tmp_path))
        found = checks.check_setup(
            {**folders, **environment}, project_folder=folder, shared_memory=folder
        )
        return {finding.subject: finding for finding in found}

    return find_in


def test_an_env_file_is_suggested_but_not_required(tmp_path, find):
    found = find()[".env"]
    assert (found.state, found.commands) == (State.NOTE, ["cp .env.example .env"])
    (tmp_path / ".env").touch()
    assert find()[".env"].state is State.OK


def test_folders_are_listed_with_their_free_space(tmp_path, find):
    (tmp_path / "file").touch()
    found = find(LOG_FOLDER=f"{tmp_path}/not/yet", TEMP_FOLDER=f"{tmp_path}/file")
    data, log, temp = (found[name] for name in ("DATA_FOLDER", "LOG_FOLDER", "TEMP_FOLDER"))
    assert data.found.startswith(f"{tmp_path}, ")
    assert data.found.endswith(" GB free")
    assert log.found.endswith("GB free (created when needed)")
    assert (temp.state, temp.found) == (State.MISSING, f"{tmp_path / 'file'}: cannot be written")


def test_little_shared_memory_is_a_note(tmp_path, find):
    assert find()["shared memory"].state is State.OK  # Of a whole disk.
    assert find(tmp_path / "none")["shared memory"].state is State.NOTE


def test_a_user_without_a_name_and_few_open_files_are_notes(find, monkeypatch):
    def unknown(number):
        raise KeyError(number)

    assert find()["user and home"].state is State.OK
    monkeypatch.setattr("pwd.getpwuid", unknown)
    found = find()["user and home"]
    assert found.state is State.NOTE
    assert "has no name" in found.found
    monkeypatch.setattr("resource.getrlimit", lambda _: (256, 4096))
    found = find()["open files"]
    assert (found.state, found.found) == (State.NOTE, "at most 256")


def test_curl_is_searched_on_the_path(programs_on_path, tmp_path, find):
    programs_on_path(curl="true")
    assert find()["curl"].state is State.OK
    (tmp_path / "bin" / "curl").unlink()
    missing = find()["curl"]
    assert (missing.state, missing.commands) == (State.MISSING, ["apt-get install curl"])


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
def test_a_login_is_found_and_never_printed(tmp_path, find, environment, netrc, state):
    (tmp_path / ".netrc").write_text(netrc)
    (tmp_path / ".netrc").chmod(0o600)
    found = find(**environment, HOME=str(tmp_path))["wandb"]
    assert found.state is state
    assert "verysecret" not in format_findings([found], width=80)


def test_pretrained_weights_are_searched_in_the_cache_only(tmp_path):
    config = tmp_path / "config" / "network"
    config.mkdir(parents=True)
    (config / "one.yaml").write_text(
        "wav2vec_huggingface_id: group/model  # Any.\nspeech_head_huggingface_id: null\n"
    )
    (config / "two.yaml").write_text("wav2vec_huggingface_id: tiny\nother: a/b\n")
    environment = {"HF_HOME": str(tmp_path / "cache")}
    (found,) = checks.check_pretrained_weights(environment, tmp_path / "config")
    assert (found.subject, found.state) == ("group/model", State.NOTE)
    assert found.commands == ["hf download group/model"]

    snapshot = tmp_path / "cache" / "hub" / "models--group--model" / "snapshots" / "1a2b"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").touch()
    (found,) = checks.check_pretrained_weights(environment, tmp_path / "config")
    assert found.state is State.NOTE
    (snapshot / "model.safetensors").symlink_to(tmp_path / "lost")
    (found,) = checks.check_pretrained_weights(environment, tmp_path / "config")
    assert found.state is State.NOTE
    (tmp_path / "lost").touch()
    (found,) = checks.check_pretrained_weights(environment, tmp_path / "config")
    assert found.state is State.OK


def test_the_default_network_of_the_project_is_among_the_weights(tmp_path):
    names = [found.subject for found in checks.check_pretrained_weights({"HF_HOME": str(tmp_path)})]
    assert names == ["facebook/wav2vec2-base"]


def test_an_empty_hf_home_means_the_default(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    (found,) = checks.check_pretrained_weights({"HF_HOME": ""})
    assert str(Path(tmp_path, ".cache", "huggingface", "hub")) in found.found
