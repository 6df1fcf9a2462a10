"""A run on shards of a server of this machine is the run on the folder that it serves."""

import pytest

from tests.helpers.http_server import serve
from tests.helpers.left_in_folder import rows_of
from w2v2_mt.app.run import run
from w2v2_mt.core import remote_files


@pytest.fixture(autouse=True)
def own_mirrors(monkeypatch):
    monkeypatch.setattr(remote_files, "_mirrors", {})


def test_a_run_on_addresses_has_the_losses_of_a_run_on_the_folder(
    small_config, tmp_path, data_folder
):
    def start(name, *overrides):
        settings = ["network.wav2vec_initially_frozen=false", "eval_model=false", *overrides]
        config = small_config("train_mt_speaker_speech", *settings)
        folder = tmp_path / name
        run(config, config_name="train_mt_speaker_speech", folder=folder, overrides=overrides)
        return rows_of(folder)

    expected = start("local")
    with serve(data_folder) as server:
        roots = [
            f"data.speech.shards_folder={server.url}/librispeech_shards",
            f"data.speaker.shards_folder={server.url}",
            f"remote.cache_folder={tmp_path / 'cache'}",
        ]
        assert start("remote", *roots) == expected
        server.asked.clear()
        assert start("cached", *roots, "num_workers=1") != []
        assert not server.downloads()


def test_credentials_in_an_address_reach_no_file_and_no_output(start_command, tmp_path):
    folder = tmp_path / "run"
    process = start_command(
        folder, "train_speech", "data.shards_folder=https://me:topsecret@host.invalid/shards"
    )
    output, errors = process.communicate(timeout=300)
    assert process.returncode != 0
    message = "data.shards_folder: the address https://host.invalid/shards must not have a login"
    assert message in output + errors
    assert "topsecret" not in output + errors
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if b"topsecret" in path.read_bytes()]
