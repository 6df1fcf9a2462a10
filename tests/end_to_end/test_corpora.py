"""Each data config of LibriSpeech and Speech Commands, from the archive to the test of a run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.archive_files import librispeech_members, speech_commands_members, write_tar_gz
from tests.helpers.warm_commands import WarmCommand
from w2v2_mt.app.commands import main

SUBSETS = (
    *("train-clean-100", "train-clean-360", "train-other-500", "train-clean-5"),
    *("dev-clean", "dev-other", "dev-clean-2", "test-clean", "test-other"),
)
WORDS = ("GO", "IT", "OH")
SPEECH = ("train_speech", {"speech"})
SPEAKER = ("train_speaker", {"speaker"})
BOTH = ("train_mt_speaker_speech", {"speech", "speaker"})
CONFIGS = {
    "librispeech": SPEECH,
    "librispeech_speaker": SPEAKER,
    "librispeech_joint": BOTH,
    "librispeech_mini_speech": SPEECH,
    "librispeech_mini_speaker": SPEAKER,
    "librispeech_mini_joint": BOTH,
    "speech_commands_speech": SPEECH,
    "speech_commands_speaker": SPEAKER,
    "speech_commands_joint": BOTH,
}
"""The entry point of each data config, and the tasks that it trains."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with shards that were prepared from small archives of both corpora."""
    folder = tmp_path_factory.mktemp("corpora")
    for number, subset in enumerate(SUBSETS):
        chapters = {
            (f"{10 * number + reader}", f"{chapter}"): {
                f"{index:04d}": WORDS[(reader + index) % len(WORDS)] for index in range(3)
            }
            for reader in range(2)
            for chapter in range(2)
        }
        members = librispeech_members(subset, chapters=chapters)
        write_tar_gz(folder / "librispeech" / f"{subset}.tar.gz", members)
    sets = {"train": ["0a", "1b", "2c", "3d"], "val": ["4e", "5f"], "test": ["6a", "7b"]}
    members = speech_commands_members(sets, words=("go", "up"))
    write_tar_gz(folder / "speech_commands" / "speech_commands_v0.02.tar.gz", members)
    for corpus in ("librispeech", "speech_commands"):
        command = ["prepare", corpus, "--data_folder", str(folder), "--num_workers", "0"]
        assert main(command) == 0
    return folder


@pytest.mark.parametrize("data", CONFIGS)
def test_a_run_learns_and_tests_the_tasks_of_its_data(
    data: str, prepared: Path, run_command: Callable[..., str], tmp_path: Path
) -> None:
    config_name, tasks = CONFIGS[data]
    run_command(tmp_path / "run", config_name, f"data={data}", f"data_folder={prepared}")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    test = "words" if "commands" in data else "clean"
    assert (f"test_wer_{test}" in metrics) == ("speech" in tasks)
    assert (f"test_eer_{test}" in metrics) == ("speaker" in tasks)


def test_missing_trials_are_one_sentence_with_the_command_that_writes_them(
    prepared: Path, start_command: Callable[..., WarmCommand], tmp_path: Path
) -> None:
    # As of a version that wrote none.
    original = prepared / "librispeech_shards"
    shards = tmp_path / "data" / "librispeech_shards"
    (shards / "dev_clean").mkdir(parents=True)
    for path in (*original.iterdir(), *(original / "dev_clean").iterdir()):
        if path.name not in ("dev_clean", "dev_clean_trials.txt"):
            (shards / path.relative_to(original)).symlink_to(path)
    process = start_command(
        *(tmp_path / "run", "train_speaker", "data=librispeech_speaker"),
        f"data_folder={tmp_path / 'data'}",
    )
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 1
    assert (
        f"The trial list {shards / 'dev_clean' / 'dev_clean_trials.txt'} must exist. Run "
        "scripts/data/librispeech/produce_librispeech_shards.sh or set DATA_FOLDER." in errors
    )
