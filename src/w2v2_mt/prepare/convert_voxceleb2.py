"""Unpacked VoxCeleb2 as wav files: the step between the aac archives and wav archives.

Training does not need it, since shards can be made from the aac archives. A file
`.../[dev/]aac/<speaker>/<video>/<n>.m4a` becomes `.../wav/<speaker>/<video>/<n>.wav`.
"""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from w2v2_mt.audio.file_names import files_below, is_audio_name
from w2v2_mt.core.units import count
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.rejections import REJECTED_FILE, Rejection, write_rejections
from w2v2_mt.prepare.audio import decode, encode
from w2v2_mt.prepare.progress import stage_bars
from w2v2_mt.prepare.work_folder import at_work, temporary

FILES_PER_TASK = 64


def wav_path(m4a: Path) -> Path:
    """Return the path of the wav file of an m4a file; raise ValueError if it is not in `aac`."""
    if len(m4a.parts) < 4 or m4a.parts[-4] != "aac":
        raise ValueError(
            f"{m4a} is not in a folder aac/<speaker>/<video>; unpack the official archives."
        )
    root = m4a.parents[3]
    if root.name == "dev":
        root = root.parent
    return Path(root, "wav", *m4a.parts[-3:]).with_suffix(".wav")


def convert(
    files: Sequence[Path], *, work: Path, delete_originals: bool
) -> tuple[int, list[Rejection]]:
    """Convert files, except those with a wav file; each is written completely or not at all.

    Returns the number of files, and those that could not be converted. `work` is locked meanwhile.
    Originals outside of its parent folder, which links lead to, are kept.
    """
    rejections: list[Rejection] = []
    with at_work(work):
        for file in files:
            wav = wav_path(file)
            if not wav.exists():
                try:
                    samples, _ = decode(file, source=str(file))
                except ValueError as error:
                    rejections.append(Rejection(str(file), str(error)))
                    continue
                wav.parent.mkdir(parents=True, exist_ok=True)
                # In the work folder, since two originals may belong to one wav file.
                unfinished = work / f"{os.getpid()}.wav"
                unfinished.write_bytes(encode(samples, "wav"))
                os.replace(unfinished, wav)
            # What a link leads to may be used elsewhere too.
            if delete_originals and Path(os.path.realpath(file)).is_relative_to(
                os.path.realpath(work.parent)
            ):
                decode(wav, source=str(wav))
                file.unlink()
    return len(files), rejections


def convert_voxceleb2(folder: Path, *, num_workers: int, delete_originals: bool) -> None:
    """Convert the m4a files of unpacked VoxCeleb2 archives below a folder to wav files."""
    if num_workers < 0:
        raise ValueError(f"--num_workers ({num_workers}) must be at least 0.")
    # Not resolved, since the parts of the path as given decide where a wav file belongs.
    folder = Path(os.path.abspath(folder))
    m4a = (file for file in files_below(folder) if file.suffix.lower() == ".m4a")
    files = sorted(
        file for file in m4a if file.is_file() and is_audio_name(file.relative_to(folder))
    )
    if not files:
        raise ValueError(f"{folder} holds no .m4a files; unpack the archives there first.")
    for file in files:
        wav_path(file)
    work = folder / ".convert.partial"
    convert_batch = partial(convert, work=work, delete_originals=delete_originals)
    batches = (files[at : at + FILES_PER_TASK] for at in range(0, len(files), FILES_PER_TASK))
    rejections: list[Rejection] = []
    with temporary(work), stage_bars() as bars, Workers(num_workers) as workers:
        bar = bars.add_task("convert", total=len(files), unit="files")
        for num_files, rejected in workers.answers(convert_batch, batches):
            rejections += rejected
            bars.advance(bar, num_files)
    list_path = folder / REJECTED_FILE
    if rejections:
        write_rejections(list_path, rejections)
        raise ValueError(
            f"{len(rejections)} of {count(len(files), 'file')} could not be converted, such as "
            f"{rejections[0].file}; {list_path} lists them, the others are converted."
        )
    list_path.unlink(missing_ok=True)  # of an earlier run, whose corrupt files have been replaced
    are = "is a wav file" if len(files) == 1 else "are wav files"
    print(f"{count(len(files), 'file')} {are} now.")
