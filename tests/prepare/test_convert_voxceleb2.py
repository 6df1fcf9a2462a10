import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.helpers.archive_files import file_contents, noise
from tests.helpers.running import running
from tests.helpers.shard_files import encoded_audio
from w2v2_mt.app.commands import main
from w2v2_mt.prepare.audio import decode, encode
from w2v2_mt.prepare.convert_voxceleb2 import wav_path

pytestmark = pytest.mark.programs("ffmpeg")

PROJECT = Path(__file__).resolve().parents[2]
FILES = [
    f"train/dev/aac/id1/video{video}/{number:05d}.m4a" for video in (1, 2) for number in (1, 2)
]
FILES.append("test/aac/id2/video1/00001.m4a")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in.wav").write_bytes(encoded_audio(noise(0, num_samples=16_000) // 8))
    command = "ffmpeg -y -loglevel error -i in.wav -c:a aac out.m4a"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    for name in FILES:
        path = tmp_path / "unpacked" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(tmp_path / "out.m4a", path)
    return tmp_path / "unpacked"


def run(folder: Path, *arguments: str) -> int:
    return main(["prepare", "convert-voxceleb2", str(folder), "--num_workers", "0", *arguments])


def wav_files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.wav"))


EXPECTED = [
    "test/wav/id2/video1/00001.wav",
    *(f"train/wav/id1/video{video}/{number:05d}.wav" for video in (1, 2) for number in (1, 2)),
]


def test_wav_files_lie_where_the_archive_wants_them(folder: Path) -> None:
    assert run(folder) == 0
    assert wav_files(folder) == EXPECTED
    for name in EXPECTED:
        info = soundfile.info(folder / name)
        assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert len(list(folder.rglob("*.m4a"))) == len(FILES)
    assert not list(folder.rglob(".*"))


@pytest.mark.usefixtures("run_that_was_killed")
def test_the_worker_of_a_killed_run_writes_no_wav_file(folder: Path) -> None:
    assert run(folder) == 1
    assert wav_files(folder) == []


def test_a_wav_file_is_what_a_shard_would_hold(folder: Path) -> None:
    assert run(folder) == 0
    m4a = (folder / FILES[0]).read_bytes()
    samples, _ = decode(m4a, source="m4a")
    assert (folder / EXPECTED[1]).read_bytes() == encode(samples, "wav")


def test_the_script_converts_with_processes(folder: Path) -> None:
    command = [sys.executable, PROJECT / "scripts" / "voxceleb2_convert_to_wav.py", folder]
    finished = subprocess.run(
        [*command, "--num_workers", "2"],  # type: ignore[list-item]
        capture_output=True,
        text=True,
        check=True,
    )
    assert finished.stdout == "5 files are wav files now.\n"
    assert wav_files(folder) == EXPECTED


def test_files_that_are_there_are_kept_and_others_made(folder: Path) -> None:
    kept = folder / EXPECTED[1]
    kept.parent.mkdir(parents=True)
    kept.write_bytes(encoded_audio(noise(1)))
    assert run(folder) == 0
    assert kept.read_bytes() == encoded_audio(noise(1))
    assert wav_files(folder) == EXPECTED


def test_originals_are_removed_only_on_request_and_next_to_their_wav_file(folder: Path) -> None:
    bad = folder / FILES[0]
    bad.write_bytes(b"no audio")
    assert run(folder, "--delete_originals") == 1
    assert list(folder.rglob("*.m4a")) == [bad]
    assert wav_files(folder) == [name for name in EXPECTED if name != EXPECTED[1]]
    rows = (folder / "rejected.tsv").read_text().splitlines()
    assert [row.partition("\t")[0] for row in rows[1:]] == [str(bad)]


def test_originals_outside_of_the_folder_are_kept(folder: Path, tmp_path: Path) -> None:
    speaker = folder / Path(FILES[0]).parents[1]
    shutil.move(speaker, tmp_path / "elsewhere")
    speaker.symlink_to(tmp_path / "elsewhere")
    inside = {folder / name for name in FILES if not (folder / name).is_relative_to(speaker)}
    assert run(folder, "--delete_originals") == 0
    assert wav_files(folder) == EXPECTED
    assert (folder / FILES[0]).exists()
    assert not any(path.exists() for path in inside)


def test_a_corrupt_wav_file_keeps_its_original(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = folder / EXPECTED[0]
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"RIFF")
    assert run(folder, "--delete_originals") == 1
    assert str(damaged) in capsys.readouterr().err
    assert (folder / FILES[-1]).exists()


def test_the_files_make_an_archive_with_the_same_samples(folder: Path) -> None:
    assert run(folder) == 0
    with zipfile.ZipFile(folder / "vox2_test_wav.zip", "w") as archive:
        archive.write(folder / EXPECTED[0], "wav/id2/video1/00001.wav")
        samples = soundfile.read(io.BytesIO(archive.read("wav/id2/video1/00001.wav")))[0]
    np.testing.assert_array_equal(samples, soundfile.read(folder / EXPECTED[0])[0])


def test_hidden_files_and_folders_are_passed_over(folder: Path) -> None:
    good = folder / FILES[0]
    for name in (".stale/aac/id9/video1/00001.m4a", "train/dev/aac/id1/video1/._00001.m4a"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(good, folder / name)
    assert run(folder) == 0
    assert wav_files(folder) == EXPECTED


def test_a_list_of_bad_files_goes_when_all_are_good(folder: Path) -> None:
    bad = folder / FILES[0]
    content = bad.read_bytes()
    bad.write_bytes(b"no audio")
    assert run(folder) == 1
    assert (folder / "rejected.tsv").exists()
    bad.write_bytes(content)
    assert run(folder) == 0
    assert not (folder / "rejected.tsv").exists()


def test_a_killed_run_leaves_a_folder_that_the_next_one_takes_over(folder: Path) -> None:
    m4a = folder / FILES[0]
    for number in range(3, 300):
        shutil.copy(m4a, m4a.with_name(f"{number:05d}.m4a"))
    undisturbed = folder.with_name("undisturbed")
    shutil.copytree(folder, undisturbed)
    assert run(undisturbed) == 0
    script = PROJECT / "scripts" / "voxceleb2_convert_to_wav.py"
    command = [sys.executable, str(script), str(folder), "--num_workers", "2"]
    with running(command, stderr=subprocess.DEVNULL) as process:
        while not list(folder.rglob("*.wav")):
            assert process.poll() is None
        process.kill()
    # As if the killed process had left an unfinished file there.
    shutil.copy(m4a, folder / ".convert.partial" / "1.wav")
    subprocess.run(command, check=True)
    assert file_contents(folder) == file_contents(undisturbed)
    assert not list(folder.rglob(".*"))


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("c.m4a", "aac/<speaker>"), ("a/b/c.m4a", "aac/<speaker>"), ("c.txt", "no .m4a")],
)
def test_another_layout_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, complaint: str
) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
    assert run(tmp_path) == 1
    assert complaint in capsys.readouterr().err


def test_a_folder_that_is_named_by_a_dot_is_seen_with_its_name(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder / "train" / "dev" / "aac")
    assert run(Path(".")) == 0
    assert wav_files(folder) == EXPECTED[1:]
    (folder / "00001.m4a").touch()
    monkeypatch.chdir(folder)
    assert run(Path(".")) == 1
    assert "00001.m4a is not in a folder aac/<speaker>" in capsys.readouterr().err


def test_both_official_layouts_are_known() -> None:
    assert wav_path(Path("x/dev/aac/id1/v/1.m4a")) == Path("x/wav/id1/v/1.wav")
    assert wav_path(Path("x/aac/id1/v/1.m4a")) == Path("x/wav/id1/v/1.wav")
