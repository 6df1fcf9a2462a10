"""The real archives, prepared and converted by commands with workers, killed at random moments.

`NUM_KILLS=20 ./scripts/test.sh tests/prepare/test_stopping_real_speech.py -s` prepares all
of them, kills each corpus so often, and says what happened; without it a part is killed once.
"""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from tests.helpers.archive_files import file_contents

ALL_KILLS = os.environ.get("NUM_KILLS")
NUM_KILLS = int(ALL_KILLS or 1)
CONVERT = Path(__file__).resolve().parents[2] / "scripts" / "voxceleb2_convert_to_wav.py"
LIMIT = () if ALL_KILLS else ("--limit", "60")


def start(corpus: str, data_folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "w2v2_mt", "prepare", corpus]
    if corpus == "manifest":
        command += [str(data_folder / "recordings" / "mine.csv"), "--name", "mine"]
    return subprocess.Popen(
        [*command, "--data_folder", str(data_folder), "--num_workers", "2", *LIMIT],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def linked(archives: Path, folder: Path) -> Path:
    folder.mkdir()
    for name in ("librispeech", "voxceleb_archives", "voxceleb_meta", "recordings"):
        if (archives / name).exists():
            (folder / name).symlink_to(archives / name)
    return folder


def unpacked_words(archive: Path, folder: Path) -> Path:
    """A folder of words of Speech Commands, and a table of their texts and speakers."""
    recordings = folder / "recordings"
    with tarfile.open(archive) as members:
        words = [each for each in members if each.name.endswith(".wav")]
        words = [each for each in words if "_nohash_" in each.name]
        members.extractall(recordings, words if ALL_KILLS else words[:600], filter="data")
    with (recordings / "mine.csv").open("w") as file:
        file.write("path,text,speaker\n")
        for path in sorted(recordings.rglob("*.wav")):
            name, speaker = path.relative_to(recordings), path.name.partition("_")[0]
            file.write(f"{name},{path.parent.name},{speaker}\n")
    return folder


def digests(data_folder: Path) -> dict[str, str]:
    """The sha256 of each shard, list and page, also where a folder links to it."""
    return {
        str(path.relative_to(data_folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in data_folder.glob("*_shards*")
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("corpus", ["librispeech", "voxceleb1", "voxceleb2", "manifest"])
def test_killed_runs_end_with_the_same_bytes(
    shared_folder: Path, tmp_path: Path, ffmpeg: str, corpus: str
) -> None:
    archives = shared_folder / "data"
    if corpus == "manifest":
        words = archives / "speech_commands" / "speech_commands_v0.02.tar.gz"
        archives = unpacked_words(words, tmp_path / "words")
    undisturbed = linked(archives, tmp_path / "undisturbed")
    begin = time.monotonic()
    assert start(corpus, undisturbed).wait() == 0
    duration_sec = time.monotonic() - begin
    expected = digests(undisturbed)
    assert expected
    rng = random.Random(corpus)
    num_kills, num_finished = 0, 0
    data_folder = linked(archives, tmp_path / "0")
    while num_kills < NUM_KILLS:
        process = start(corpus, data_folder)
        try:
            process.wait(timeout=rng.uniform(0.05, 0.8) * duration_sec)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() == -signal.SIGKILL:
            num_kills += 1
        else:
            assert process.returncode == 0
            assert digests(data_folder) == expected
            num_finished += 1
            data_folder = linked(archives, tmp_path / str(num_finished))
    assert start(corpus, data_folder).wait() == 0
    assert digests(data_folder) == expected
    assert not list(data_folder.glob(".*partial"))
    print(
        f"\n{corpus}: {num_kills} kills, {num_finished + 1} preparations, "
        f"{len(expected)} files equal to those of an undisturbed one"
    )


def unpacked(archive: Path, folder: Path) -> Path:
    with zipfile.ZipFile(archive) as members:
        names = [name for name in members.namelist() if name.endswith(".m4a")]
        members.extractall(folder / "train", names if ALL_KILLS else names[:300])
    return folder


def start_conversion(folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, CONVERT, folder, "--num_workers", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def test_killed_conversions_end_with_the_same_bytes(
    shared_folder: Path, tmp_path: Path, ffmpeg: str
) -> None:
    archive = shared_folder / "data" / "voxceleb_archives" / "vox2_dev_aac.zip"
    undisturbed = unpacked(archive, tmp_path / "undisturbed")
    begin = time.monotonic()
    assert start_conversion(undisturbed).wait() == 0
    duration_sec = time.monotonic() - begin
    expected = file_contents(undisturbed)
    assert any(name.endswith(".wav") for name in expected)
    rng = random.Random("conversion")
    num_kills, num_finished = 0, 0
    folder = unpacked(archive, tmp_path / "killed")
    while num_kills < NUM_KILLS:
        process = start_conversion(folder)
        try:
            process.wait(timeout=rng.uniform(0.05, 0.8) * duration_sec)
        except subprocess.TimeoutExpired:
            process.kill()
        if process.wait() == -signal.SIGKILL:
            num_kills += 1
        else:
            assert process.returncode == 0
            assert file_contents(folder) == expected
            num_finished += 1
            shutil.rmtree(folder / "train" / "wav")
    assert start_conversion(folder).wait() == 0
    assert file_contents(folder) == expected
    assert not list(folder.rglob(".*"))
    print(
        f"\nconversion: {num_kills} kills, {num_finished + 1} conversions, "
        f"{len(expected)} files equal to those of an undisturbed one"
    )
