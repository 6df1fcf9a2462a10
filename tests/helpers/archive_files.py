"""Tiny archives in the layout of the official ones, for tests: noise instead of speech."""

import gzip
import io
import tarfile
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.shard_files import encoded_audio
from w2v2_mt.prepare.options import Options

VOXCELEB2_SPEAKERS = {f"id0000{number}": "fm"[number % 2] for number in range(1, 7)}
Members = Sequence[tuple[str, bytes]]


def noise(seed: int, *, num_samples: int = 1600) -> np.ndarray:
    """Noise of 16 bit samples."""
    rng = np.random.default_rng(seed)
    return rng.integers(-(1 << 15), 1 << 15, size=num_samples, dtype=np.int16)


def tar_bytes(members: Members) -> bytes:
    """A tar file."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write_tar_gz(path: Path, members: Members) -> Path:
    """A tar.gz archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(tar_bytes(members)))
    return path


def write_zip(path: Path, members: Members) -> Path:
    """A zip archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


def librispeech_members(
    subset: str,
    *,
    chapters: Mapping[tuple[str, str], Mapping[str, str]],
    transcript_first: bool = False,
) -> list[tuple[str, bytes]]:
    """The members of an archive, from (reader, chapter) -> utterance -> words."""
    members = [("LibriSpeech/README.TXT", b"not audio")]
    for seed, ((reader, chapter), utterances) in enumerate(chapters.items()):
        stem = f"LibriSpeech/{subset}/{reader}/{chapter}/{reader}-{chapter}"
        lines = [f"{reader}-{chapter}-{number} {words}" for number, words in utterances.items()]
        transcript = (f"{stem}.trans.txt", ("\n".join(lines) + "\n").encode())
        audio = [
            (f"{stem}-{number}.flac", encoded_audio(noise(100 * seed + index), format="FLAC"))
            for index, number in enumerate(utterances)
        ]
        members += [transcript, *audio] if transcript_first else [*audio, transcript]
    return members


def speech_commands_members(
    sets: Mapping[str, Sequence[str]],
    *,
    words: Sequence[str] = ("yes", "no"),
    num_per_word: int = 2,
    prefix: str = "./",
    with_lists: bool = True,
) -> list[tuple[str, bytes]]:
    """The members of an archive, from set (train, val or test) -> speakers."""
    paths = {
        name: [
            f"{word}/{speaker}_nohash_{number}.wav"
            for word in words
            for speaker in speakers
            for number in range(num_per_word)
        ]
        for name, speakers in sets.items()
    }
    members = [(f"{prefix}README.md", b"not audio")]
    if with_lists:
        for file, name in (("validation_list.txt", "val"), ("testing_list.txt", "test")):
            lines = "".join(f"{path}\n" for path in paths.get(name, ()))
            members.append((f"{prefix}{file}", lines.encode()))
        hum = encoded_audio(noise(99, num_samples=3200))
        members.append((f"{prefix}_background_noise_/hum.wav", hum))
    every = sorted(path for of_set in paths.values() for path in of_set)
    members += [(f"{prefix}{path}", encoded_audio(noise(n))) for n, path in enumerate(every)]
    return members


def write_voxceleb(
    data_folder: Path,
    *,
    dev_speakers: Mapping[str, str],
    test_speakers: Mapping[str, str],
    num_videos: int = 4,
    num_per_video: int = 3,
) -> None:
    """Both archives of VoxCeleb1 and its meta files, from speaker -> sex.

    The trials do not name the last utterance of the last video of each test speaker.
    """
    meta = ["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"]
    for part, speakers in (("dev", dev_speakers), ("test", test_speakers)):
        names = [
            f"wav/{speaker}/video_{video}/{number:05d}.wav"
            for speaker in speakers
            for video in range(num_videos)
            for number in range(1, num_per_video + 1)
        ]
        members = [(name, encoded_audio(noise(seed))) for seed, name in enumerate(names)]
        write_zip(data_folder / "voxceleb_archives" / f"vox1_{part}_wav.zip", members)
        meta += [f"{speaker}\tName\t{sex}\tUK\t{part}" for speaker, sex in speakers.items()]
    tested = [
        name.removeprefix("wav/")
        for name in names
        if not name.endswith(f"video_{num_videos - 1}/{num_per_video:05d}.wav")
    ]
    trials = [
        f"{left.split('/')[0] == right.split('/')[0]:d} {left} {right}\n"
        for left, right in zip(tested, tested[1:] + tested[:1], strict=True)
    ]
    folder = data_folder / "voxceleb_meta"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vox1_meta.csv").write_text("\n".join(meta) + "\n")
    (folder / "veri_test2.txt").write_text("".join(trials))


def write_voxceleb2(data_folder: Path) -> None:
    """The archives of VoxCeleb1 and that of VoxCeleb2 as wav files, and the meta files.

    The three lists share utterances, and the first has some for itself.
    """
    write_voxceleb(
        data_folder,
        dev_speakers={"id10001": "f", "id10002": "m"},
        test_speakers={"id10270": "f"},
    )
    write_zip(
        data_folder / "voxceleb_archives" / "vox2_dev_wav.zip",
        [
            (f"wav/{speaker}/video_{video}/{number:05d}.wav", encoded_audio(noise(number)))
            for speaker in VOXCELEB2_SPEAKERS
            for video in range(4)
            for number in range(1, 4)
        ],
    )
    meta = data_folder / "voxceleb_meta"
    lines = ["VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set "]
    lines += [f"{speaker} ,n0001 ,{sex} ,dev " for speaker, sex in VOXCELEB2_SPEAKERS.items()]
    (meta / "vox2_meta.csv").write_text("\ufeff" + "\n".join(lines) + "\n", encoding="utf-8")
    same = "1 id10001/video_0/00001.wav id10001/video_1/00001.wav\n"
    other = "0 id10001/video_0/00001.wav id10002/video_2/00002.wav\n"
    original = (meta / "veri_test2.txt").read_text().splitlines(keepends=True)
    (meta / "list_test_all2.txt").write_text("".join([same, other, *original[:5]]))
    (meta / "list_test_hard2.txt").write_text("".join([same, *original[:2]]))


def file_contents(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def without(members: Iterable[tuple[str, bytes]], ending: str) -> list[tuple[str, bytes]]:
    """The members whose names do not end so."""
    return [(name, content) for name, content in members if not name.endswith(ending)]


def options(data_folder: Path, **changes: Any) -> Options:
    """Options of a preparation in this process."""
    return Options(data_folder=data_folder, **{"seed": 1, "num_workers": 0, **changes})
