"""A disk that is full is told in a sentence, and with more room the same command goes on."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.archive_files import (
    file_contents,
    librispeech_members,
    noise,
    write_tar_gz,
)
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.prepare import shard_writer

CHAPTERS = {("1", "2"): {f"{number:04d}": "YES" for number in range(20)}}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path | None]:
    """A file system of 700 kB; None where this user may mount none."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=700k", "tmpfs", str(folder)]
    has_mount = shutil.which("mount") is not None
    mounted = has_mount and not subprocess.run(mount, capture_output=True, check=False).returncode
    yield folder if mounted else None
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_the_run_continues_when_there_is_room(
    tmp_path: Path,
    small_disk: Path | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = [
        (name, encoded_audio(noise(0, num_samples=16_000), format="FLAC"))
        if name.endswith(".flac")
        else (name, content)
        for name, content in librispeech_members("dev-clean", chapters=CHAPTERS)
    ]
    archive = write_tar_gz(tmp_path / "librispeech" / "dev-clean.tar.gz", members)
    data_folder = tmp_path if small_disk is None else small_disk
    if small_disk is not None:
        (small_disk / "librispeech").mkdir()
        (small_disk / "librispeech" / archive.name).symlink_to(archive)
    arguments = ["prepare", "librispeech", "--data_folder", str(data_folder), "--num_workers", "0"]
    with monkeypatch.context() as patch:
        if small_disk is None:

            def fails(*arguments: object) -> None:
                raise OSError(28, "No space left on device")

            patch.setattr(shard_writer.tarfile.TarFile, "addfile", fails)  # type: ignore[attr-defined]
        assert main(arguments) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1
    assert "the disk is full" in errors[0]
    assert "run the same command again, which resumes from here." in errors[0]
    assert not list((data_folder / "librispeech_shards").glob("[!.]*"))
    if small_disk is not None:
        subprocess.run(["mount", "-o", "remount,size=10m", str(small_disk)], check=True)
    assert main(arguments) == 0
    other = tmp_path / "other" / "librispeech"
    other.mkdir(parents=True)
    (other / archive.name).symlink_to(archive)
    assert main([*arguments[:3], str(other.parent), "--num_workers", "0"]) == 0
    assert file_contents(data_folder / "librispeech_shards" / "dev_clean") == file_contents(
        other.parent / "librispeech_shards" / "dev_clean"
    )
