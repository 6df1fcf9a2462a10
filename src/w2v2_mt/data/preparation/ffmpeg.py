"""Decode what only ffmpeg can: the AAC of VoxCeleb2.

Starting ffmpeg takes longer than decoding an utterance, so one process decodes many files.
"""

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from w2v2_mt.core.units import SAMPLE_RATE_HZ, seconds_from_samples
from w2v2_mt.data.preparation.audio import DecodedAudio

FILES_PER_PROCESS = 64
"""More are not faster."""

MAX_DURATION_ERROR_SEC = 0.2
"""A few frames of AAC, which may be cut at both ends."""

NUM_HEADER_BYTES = 44
NUM_SAMPLE_BYTES = 2

FULL_DISK = os.strerror(errno.ENOSPC)
INPUT = re.compile(r"^Input #(\d+), ")
DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")
STREAM = re.compile(r"^  Stream #\d+:\d+.*: Audio: .*, (\d+) Hz, (\w+)")
SECONDS_PER_MINUTE = 60

Answer = TypeVar("Answer")


def check_ffmpeg() -> None:
    """Raises ValueError where there is no ffmpeg."""
    if shutil.which("ffmpeg") is None:
        raise ValueError(
            "ffmpeg is not on the PATH, and m4a files need it; install the package ffmpeg, or "
            "start from the vox2_*_wav.zip archives."
        )


def decode_with_ffmpeg(
    contents: Sequence[bytes], *, sources: Sequence[str], scratch: Path
) -> list[DecodedAudio | ValueError]:
    """An answer for each file, in order: its samples, or a ValueError that says what is wrong.

    `sources` name the files in those errors. `scratch` is a folder for the time of the call, since
    m4a cannot be read from a pipe. What is not 16 kHz mono is resampled and mixed down by ffmpeg.

    Raises:
        OSError: the files cannot be written to `scratch`, or ffmpeg cannot be started or is killed.
    """
    return _in_batches(lambda batch: _decoded(contents[batch], scratch), sources)


def convert_with_ffmpeg(
    files: Sequence[Path], targets: Sequence[Path], *, scratch: Path
) -> list[ValueError | None]:
    """Write a 16 kHz mono wav file for each file; a ValueError for each of which there is none.

    A target is there completely or not at all. `scratch` is a folder on the disk of the targets,
    for the time of the call.

    Raises:
        OSError: as `decode_with_ffmpeg`.
    """
    sources = [str(file) for file in files]
    return _in_batches(lambda batch: _converted(files[batch], targets[batch], scratch), sources)


def _in_batches(
    work: Callable[[slice], list[Answer] | None], sources: Sequence[str]
) -> list[Answer | ValueError]:
    answers: list[Answer | ValueError] = []
    for start in range(0, len(sources), FILES_PER_PROCESS):
        stop = min(start + FILES_PER_PROCESS, len(sources))
        of_batch = _answers(work, start, stop, sources)
        answers += of_batch
    return answers


def _answers(
    work: Callable[[slice], list[Answer] | None], start: int, stop: int, sources: Sequence[str]
) -> list[Answer | ValueError]:
    answers = work(slice(start, stop))
    if answers is not None:
        return [*answers]
    if stop - start == 1:
        return [ValueError(f"{sources[start]} cannot be decoded by ffmpeg; get the archive again.")]
    # One bad file fails them all: it is sought by halves.
    middle = (start + stop) // 2
    return [
        *_answers(work, start, middle, sources),
        *_answers(work, middle, stop, sources),
    ]


def _decoded(contents: Sequence[bytes], scratch: Path) -> list[DecodedAudio] | None:
    """None where ffmpeg fails for one of the files, or gives less than the file promises."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".ffmpeg-") as name:
        folder = Path(name)
        for index, content in enumerate(contents):
            (folder / f"{index}.m4a").write_bytes(content)
        inputs = [f"{index}.m4a" for index in range(len(contents))]
        promised = _run(inputs, folder, suffix=".raw", options=["-f", "s16le"])
        if promised is None:
            return None
        answers = []
        for index, promise in enumerate(promised):
            samples = np.fromfile(folder / f"{index}.raw", dtype="<i2").astype(np.int16, copy=False)
            if not promise.is_kept_by(len(samples)):
                return None
            answers.append(DecodedAudio(samples=samples, was_converted=promise.needs_conversion))
        return answers


def _converted(files: Sequence[Path], targets: Sequence[Path], scratch: Path) -> list[None] | None:
    """As `_decoded`."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".ffmpeg-") as name:
        folder = Path(name)
        inputs = [str(file.resolve()) for file in files]
        # Without a note of the program that wrote it, the header has the usual 44 bytes.
        options = ["-map_metadata", "-1", "-bitexact", "-f", "wav"]
        promised = _run(inputs, folder, suffix=".wav", options=options)
        if promised is None:
            return None
        made = [folder / f"{index}.wav" for index in range(len(files))]
        for file, promise in zip(made, promised, strict=True):
            num_samples = (file.stat().st_size - NUM_HEADER_BYTES) // NUM_SAMPLE_BYTES
            if not promise.is_kept_by(num_samples):
                return None
        for file, target in zip(made, targets, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(file, target)
        return [None] * len(files)


@dataclass(frozen=True)
class _Promise:
    """What ffmpeg tells of an input."""

    duration_sec: float
    sample_rate_hz: int
    layout: str

    @property
    def needs_conversion(self) -> bool:
        return (self.sample_rate_hz, self.layout) != (SAMPLE_RATE_HZ, "mono")

    def is_kept_by(self, num_samples: int) -> bool:
        error_sec = abs(seconds_from_samples(num_samples) - self.duration_sec)
        return num_samples > 0 and error_sec <= MAX_DURATION_ERROR_SEC


def _run(
    inputs: Sequence[str], folder: Path, *, suffix: str, options: Sequence[str]
) -> list[_Promise] | None:
    """Make `<index><suffix>` of each input, in the folder; None where one of them fails."""
    before: list[str] = []
    behind: list[str] = []
    for index, name in enumerate(inputs):
        before += ["-threads", "1", "-protocol_whitelist", "file", "-i", name]
        behind += ["-map", f"{index}:a:0", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1"]
        behind += ["-threads", "1", *options, f"{index}{suffix}"]
    finished = subprocess.run(
        ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-xerror", *before, *behind],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if finished.returncode < 0:
        raise OSError(f"ffmpeg was stopped by signal {-finished.returncode}; run this again.")
    if finished.returncode != 0 and FULL_DISK in finished.stderr:
        raise OSError(errno.ENOSPC, FULL_DISK, str(folder))
    promised = _promised(finished.stderr)
    is_complete = finished.returncode == 0 and len(promised) == len(inputs)
    return promised if is_complete else None


def _promised(log: str) -> list[_Promise]:
    """Of each input, as ffmpeg tells it."""
    promised: list[_Promise] = []
    duration_sec: float | None = None
    for line in log.splitlines():
        if INPUT.match(line):
            duration_sec = None
        elif found := DURATION.match(line):
            hours, minutes, seconds = found.groups()
            num_minutes = int(hours) * SECONDS_PER_MINUTE + int(minutes)
            duration_sec = num_minutes * SECONDS_PER_MINUTE + float(seconds)
        elif line.startswith("Stream mapping:"):
            break
        elif duration_sec is not None and (found := STREAM.match(line)):
            promised.append(_Promise(duration_sec, int(found.group(1)), found.group(2)))
            duration_sec = None  # a second audio stream is not read
    return promised
