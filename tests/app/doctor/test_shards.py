import json
from pathlib import Path

import pytest

from tests.helpers.shard_files import write_librispeech_shards, write_voxceleb_shards
from w2v2_mt.app.doctor.finding import Finding, State
from w2v2_mt.app.doctor.shards import CORPORA, check_shards


@pytest.fixture
def find(tmp_path):
    def find_in(folder: Path = tmp_path) -> dict[str, Finding]:
        return {found.subject.removeprefix("shards of "): found for found in check_shards(folder)}

    return find_in


def test_a_bare_machine_gets_every_command_up_to_the_shards(find):
    found = find()
    assert list(found) == [
        "librispeech",
        "librispeech_mini_speech",
        "speech_commands_speech",
        "voxceleb1",
        "voxceleb2",
    ]
    assert {finding.state for finding in found.values()} == {State.MISSING}
    assert found["librispeech"].needed_for == (
        "data=librispeech, data=librispeech_joint, data=librispeech_speaker, "
        "data=mt_vox1_libri, data=mt_vox2_libri"
    )
    assert found["voxceleb2"].needed_for == "data=mt_vox2_libri, data=voxceleb2"
    assert found["librispeech"].commands == [
        "./scripts/download/download_librispeech.sh",
        "./scripts/data/librispeech/produce_librispeech_shards.sh",
    ]
    assert "vox2_dev_wav.zip or voxceleb_archives/vox2_dev_aac.zip" in found["voxceleb2"].found
    assert "requested" in found["voxceleb1"].found


def test_every_command_is_a_file_of_the_project(find):
    project = Path(__file__).resolve().parents[3]
    for finding in find().values():
        assert all((project / command.split()[0]).is_file() for command in finding.commands)


def test_shards_are_counted(tmp_path, find):
    write_librispeech_shards(tmp_path, num_utterances=3)
    write_voxceleb_shards(tmp_path)
    for path in tmp_path.rglob("meta.json"):
        metadata = json.loads(path.read_text())
        path.write_text(json.dumps({"num_speakers": 2, **metadata, "num_utterances": 3}))
    found = find()
    assert {found[name].state for name in ("librispeech", "voxceleb1", "voxceleb2")} == {State.OK}
    assert "train_clean_100 (3 utterances, 2 speakers)" in found["librispeech"].found
    assert "vox2_shards_hard/test (3 utterances, " in found["voxceleb2"].found


def test_missing_corrupt_and_empty_sets_are_named(tmp_path, find):
    write_librispeech_shards(tmp_path, num_utterances=3)
    folder = tmp_path / "librispeech_shards"
    (folder / "dev_clean" / "meta.json").write_text("{")
    (folder / "dev_other" / "meta.json").write_text("[]")
    (folder / "test_clean" / "meta.json").unlink()
    for shard in (folder / "test_other").glob("*.tar"):
        shard.unlink()
    found = find()["librispeech"]
    assert found.state is State.MISSING
    assert found.found.startswith(
        f"dev_clean, dev_other, test_clean, test_other in {folder}: "
        "not readable and not there and without shards"
    )


def test_existing_archives_are_not_downloaded_again(tmp_path, find):
    (tmp_path / "librispeech").mkdir()
    for subset in ("train-clean-100", "train-clean-360", "train-other-500"):
        (tmp_path / "librispeech" / f"{subset}.tar.gz").touch()
    assert "train" not in find()["librispeech"].found.partition("missing archives: ")[2]
    for subset in ("dev-clean", "dev-other", "test-clean", "test-other"):
        (tmp_path / "librispeech" / f"{subset}.tar.gz").touch()
    found = find()["librispeech"]
    assert "missing archives" not in found.found
    assert found.commands == ["./scripts/data/librispeech/produce_librispeech_shards.sh"]


def test_the_archives_are_those_that_preparation_reads():
    from w2v2_mt.prepare.options import SUBSETS
    from w2v2_mt.prepare.voxceleb import VOXCELEB1_ARCHIVES as ARCHIVES

    assert CORPORA["librispeech"].archives == [f"librispeech/{name}.tar.gz" for name in SUBSETS]
    assert list(CORPORA["voxceleb1"].archives) == [f"voxceleb_archives/{name}" for name in ARCHIVES]


def test_either_archive_of_speech_commands_will_do(tmp_path, find):
    assert "speech_commands_v0.02.tar.gz or speech_commands/mini_speech_commands.zip" in (
        find()["speech_commands_speech"].found
    )
    (tmp_path / "speech_commands").mkdir()
    (tmp_path / "speech_commands" / "mini_speech_commands.zip").touch()
    found = find()["speech_commands_speech"]
    assert found.commands == ["./scripts/data/speech_commands/produce_shards.sh"]
    assert found.needed_for == (
        "data=speech_commands_joint, data=speech_commands_speaker, data=speech_commands_speech"
    )


def test_configs_of_the_user_are_found_and_broken_ones_skipped(tmp_path):
    config = tmp_path / "config" / "data"
    config.mkdir(parents=True)
    (config / "mine.yaml").write_text(
        "shards_folder: ${data_folder}/mine\nprepared_by: mine.sh\ntrain_sets: [a]\n"
    )
    (config / "broken.yaml").write_text("shards_folder: ${nowhere}\n")
    (config / "torn.yaml").write_text("a: [")
    (config / "far.yaml").write_text("shards_folder: https://host/shards\ntrain_sets: [a]\n")
    (found,) = check_shards(tmp_path / "it's here", tmp_path / "config")
    assert (found.subject, found.state, found.commands) == (
        "shards of mine",
        State.MISSING,
        ["./mine.sh"],
    )
    assert found.found == f"all sets in {tmp_path}/it's here/mine: not there"
