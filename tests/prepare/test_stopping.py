"""A preparation that is killed at any moment goes on and ends with the bytes of a quiet one."""

import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import (
    file_contents,
    librispeech_members,
    speech_commands_members,
    write_tar_gz,
    write_voxceleb,
    write_voxceleb2,
)
from tests.helpers.manifests import write_table
from tests.helpers.running import running
from w2v2_mt.app.commands import main

NUM_KILLS = 7
CHAPTERS = {
    (str(reader), str(chapter)): {f"{number:04d}": "YES AND NO" for number in range(25)}
    for reader in range(4)
    for chapter in range(3)
}
SPEAKERS = {f"id1{number:04d}": "fm"[number % 2] for number in range(1, 21)}
SET_LETTERS = {"train": "a", "val": "b", "test": "c"}
TEST_SPEAKERS = {"id10270": "f", "id10271": "m"}


def write_librispeech_archive(folder: Path) -> None:
    members = librispeech_members("dev-clean", chapters=CHAPTERS)
    write_tar_gz(folder / "librispeech" / "dev-clean.tar.gz", members)


def write_speech_commands_archive(folder: Path) -> None:
    sets = {name: [f"{letter}{n}" for n in range(20)] for name, letter in SET_LETTERS.items()}
    members = speech_commands_members(sets)
    write_tar_gz(folder / "speech_commands" / "speech_commands_v0.02.tar.gz", members)


def write_recordings(folder: Path) -> None:
    """Files of their own, and segments of a file that is decoded to a copy first."""
    entries = []
    for number, speaker in enumerate(SPEAKERS):
        path = f"{speaker}.{('mp3', 'wav')[number % 2]}"
        rows: list[tuple[float, float | None]] = [
            (start_sec, start_sec + 0.5) for start_sec in (1.0, 4.0, 20.0)
        ]
        duration_sec = 30.0
        if number > 5:
            path, rows, duration_sec = f"{speaker}.flac", [(0.0, None)], 0.5
        rng = np.random.default_rng(number)
        (folder / "recordings").mkdir(parents=True, exist_ok=True)
        audio = 0.1 * rng.standard_normal(round(16_000 * duration_sec))
        soundfile.write(folder / "recordings" / path, audio, 16_000)
        for start_sec, end_sec in rows:
            times = {"start": start_sec, "end": end_sec} if end_sec else {}
            entries.append({"path": path, "text": "yes", "speaker": speaker, **times})
    write_table(folder / "recordings" / "mine.csv", entries)


def write_voxceleb_archives(folder: Path) -> None:
    write_voxceleb(folder, dev_speakers=SPEAKERS, test_speakers=TEST_SPEAKERS)


def start(corpus: str, data_folder: Path) -> multiprocessing.Process:
    # Forked, so that the time until it is killed is spent on its work and not on imports.
    words = ["prepare", corpus, "--data_folder", str(data_folder), "--num_workers", "0"]
    if corpus == "manifest":
        words += [str(data_folder / "recordings" / "mine.csv"), "--name", "mine"]
    process = multiprocessing.get_context("fork").Process(target=main, args=(words,))
    process.start()
    return process  # type: ignore[return-value]


def copied(archives: Path, folder: Path) -> Path:
    folder.mkdir()
    for path in archives.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


def results(data_folder: Path) -> dict[str, bytes]:
    """Every file of every folder of shards."""
    return {
        f"{folder.name}/{name}": content
        for folder in sorted(data_folder.glob("*_shards*"))
        for name, content in file_contents(folder).items()
    }


@pytest.mark.parametrize(
    ("corpus", "write_archives"),
    [
        ("librispeech", write_librispeech_archive),
        ("voxceleb1", write_voxceleb_archives),
        ("voxceleb2", write_voxceleb2),
        ("speech_commands", write_speech_commands_archive),
        ("manifest", write_recordings),
    ],
)
def test_a_killed_run_resumes_to_the_same_bytes(
    tmp_path: Path, corpus: str, write_archives: Callable[[Path], None]
) -> None:
    write_archives(tmp_path / "archives")
    undisturbed = copied(tmp_path / "archives", tmp_path / "undisturbed")
    begin = time.monotonic()
    start(corpus, undisturbed).join()
    duration_sec = time.monotonic() - begin
    expected = results(undisturbed)
    assert expected
    rng = random.Random(0)
    num_kills, num_finished = 0, 0
    data_folder = copied(tmp_path / "archives", tmp_path / "0")
    while num_kills < NUM_KILLS:
        process = start(corpus, data_folder)
        process.join(timeout=rng.uniform(0.1, 0.7) * duration_sec)
        if process.is_alive():
            process.kill()
            process.join()
        if process.exitcode == -signal.SIGKILL:
            num_kills += 1
        else:
            assert process.exitcode == 0
            assert results(data_folder) == expected
            num_finished += 1
            data_folder = copied(tmp_path / "archives", tmp_path / str(num_finished))
    start(corpus, data_folder).join()
    assert results(data_folder) == expected
    assert not list(data_folder.glob(".*partial"))


def test_a_run_with_workers_that_is_killed_resumes(tmp_path: Path) -> None:
    write_voxceleb_archives(tmp_path / "archives")
    undisturbed = copied(tmp_path / "archives", tmp_path / "undisturbed")
    start("voxceleb1", undisturbed).join()
    data_folder = copied(tmp_path / "archives", tmp_path / "killed")
    command = [sys.executable, "-m", "w2v2_mt", "prepare", "voxceleb1", "--data_folder"]
    command += [str(data_folder), "--num_workers", "2"]
    with running(command, stderr=subprocess.DEVNULL) as process:
        # Killed as soon as the first shard is there.
        while not list(data_folder.glob(".*partial/vox1_shards/*/*.tar")):
            assert process.poll() is None
        process.kill()
    assert not (data_folder / "vox1_shards").exists()
    subprocess.run(command, check=True)
    assert file_contents(data_folder / "vox1_shards") == file_contents(undisturbed / "vox1_shards")
