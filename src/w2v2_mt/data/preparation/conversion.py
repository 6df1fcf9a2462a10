"""Unpacked VoxCeleb2 as wav files: the step between the aac archives and wav archives.

Training does not need it, since shards can be made from the aac archives; it is for those who want
the wav files themselves. `.../[dev/]aac/<speaker>/<video>/<n>.m4a` becomes
`.../wav/<speaker>/<video>/<n>.wav`.
"""

import argparse
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from w2v2_mt.data.preparation.audio import decode_checked
from w2v2_mt.data.preparation.command_line import StageBars, run_command
from w2v2_mt.data.preparation.ffmpeg import check_ffmpeg, convert_with_ffmpeg
from w2v2_mt.data.preparation.rejections import REJECTED_FILE, Rejection, write_rejections
from w2v2_mt.data.preparation.workers import Workers, default_num_workers
from w2v2_mt.data.preparation.workspace import at_work, temporary

FILES_PER_TASK = 64
WORK_FOLDER = ".convert.partial"
"""Below the folder that is converted, as long as that lasts."""

AAC_FOLDERS = ("aac", "dev")
"""What stands between the root and the speaker, from the inside, and gives way to `wav`."""


@dataclass(frozen=True, kw_only=True)
class ConversionTask:
    """m4a files, and whether each is removed when its wav file is verified.

    `scratch` is a folder for unfinished files, on the disk of the wav files.
    """

    files: Sequence[Path]
    scratch: Path
    delete_originals: bool


@dataclass(frozen=True, kw_only=True)
class Converted:
    """How many files a task had, and those that could not be converted."""

    num_files: int
    rejections: list[Rejection]


def wav_path(m4a: Path) -> Path:
    """Where the wav file of an m4a file belongs. Raises ValueError outside of a folder `aac`."""
    if len(m4a.parts) < 4 or m4a.parts[-4] != AAC_FOLDERS[0]:
        raise ValueError(
            f"{m4a} does not lie in a folder aac/<speaker>/<video>; unpack the official archives."
        )
    speaker_folder = m4a.parents[1]
    root = speaker_folder.parent
    for name in AAC_FOLDERS:
        if root.name == name:
            root = root.parent
    return root / "wav" / speaker_folder.name / m4a.parent.name / f"{m4a.stem}.wav"


def convert(task: ConversionTask) -> Converted:
    """Convert files; what is there already is kept, and each is there completely or not at all."""
    missing = [file for file in task.files if not wav_path(file).exists()]
    rejections = []
    if missing:
        answers = convert_with_ffmpeg(
            missing,
            [wav_path(file) for file in missing],
            scratch=task.scratch,
        )
        rejections = [
            Rejection(str(file), str(answer))
            for file, answer in zip(missing, answers, strict=True)
            if answer is not None
        ]
    if task.delete_originals:
        for file in task.files:
            wav = wav_path(file)
            if wav.exists():
                decode_checked(wav.read_bytes(), source=str(wav))
                file.unlink()
    return Converted(num_files=len(task.files), rejections=rejections)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Convert the m4a files of unpacked VoxCeleb2 archives to wav files: "
        "DIR/.../aac/<speaker>/<video>/<n>.m4a to DIR/.../wav/<speaker>/<video>/<n>.wav. Run again "
        "after it was stopped, it goes on."
    )
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--num_workers", type=int, default=default_num_workers())
    parser.add_argument(
        "--delete_originals",
        action="store_true",
        help="remove each m4a file when its wav file has been read back",
    )
    return run_command(_convert, parser.parse_args(arguments))


def _convert(options: argparse.Namespace) -> None:
    if options.num_workers < 0:
        raise ValueError(f"--num_workers is {options.num_workers}; it must be at least 0.")
    # Without links resolved, but whole: the parts of a path tell where its wav file belongs.
    folder = Path(os.path.abspath(options.folder))
    files = sorted(_m4a_files(folder))
    if not files:
        raise ValueError(f"{folder} holds no .m4a files; unpack the archives there first.")
    check_ffmpeg()
    for file in files:
        wav_path(file)
    work = folder / WORK_FOLDER
    tasks = (
        ConversionTask(files=batch, scratch=work, delete_originals=options.delete_originals)
        for batch in _batches(files)
    )
    rejections: list[Rejection] = []
    list_path = folder / REJECTED_FILE
    with (
        temporary(work),
        StageBars() as bars,
        bars.stage("convert", total=len(files), unit="files") as bar,
        Workers(options.num_workers) as workers,
    ):
        for converted in workers.answers(_converted, tasks):
            rejections += converted.rejections
            bar.advance(converted.num_files)
    if rejections:
        write_rejections(list_path, rejections)
        raise ValueError(
            f"{len(rejections)} of {len(files)} files could not be converted, such as "
            f"{rejections[0].file}; {list_path} lists them, the others are done."
        )
    list_path.unlink(missing_ok=True)  # of a run before, whose bad files have been replaced
    print(f"{len(files)} files are wav files now.")


def _converted(task: ConversionTask) -> Converted:
    with at_work(task.scratch):
        return convert(task)


def _m4a_files(folder: Path) -> Iterator[Path]:
    """Those below a folder, but for hidden ones and what lies in hidden folders."""

    def stop(error: OSError) -> None:
        raise error

    for root, folders, names in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            if name.endswith(".m4a") and not name.startswith("."):
                yield Path(root, name)


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    remaining = iter(files)
    while batch := list(islice(remaining, FILES_PER_TASK)):
        yield batch
