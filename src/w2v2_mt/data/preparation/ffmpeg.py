"""Decode what only ffmpeg can: the AAC of VoxCeleb2.

Starting ffmpeg takes longer than decoding an utterance, so one process decodes many files.
"""

import errno
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from w2v2_mt.core.units import SAMPLE_RATE_HZ, seconds_from_samples
from w2v2_mt.data.preparation.audio import DecodedAudio

FILES_PER_PROCESS = 64
"""More are not faster."""

MAX_DURATION_ERROR_SEC = 0.2
"""A few frames of AAC, which may be cut at both ends."""

FULL_DISK = os.strerror(errno.ENOSPC)
INPUT = re.compile(r"^Input #(\d+), ")
DURATION = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")
STREAM = re.compile(r"^  Stream #\d+:\d+.*: Audio: .*, (\d+) Hz, (\w+)")
SECONDS_PER_MINUTE = 60


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
    answers: list[DecodedAudio | ValueError] = []
    for start in range(0, len(contents), FILES_PER_PROCESS):
        batch = slice(start, start + FILES_PER_PROCESS)
        answers += _answers(contents[batch], sources[batch], scratch)
    return answers


def _answers(
    contents: Sequence[bytes], sources: Sequence[str], scratch: Path
) -> list[DecodedAudio | ValueError]:
    decoded = _decoded(contents, scratch)
    if decoded is not None:
        return [*decoded]
    if len(contents) == 1:
        return [ValueError(f"{sources[0]} cannot be decoded by ffmpeg; get the archive again.")]
    # One bad file fails them all: it is sought by halves.
    middle = len(contents) // 2
    halves = (slice(middle), slice(middle, None))
    return [each for half in halves for each in _answers(contents[half], sources[half], scratch)]


def _decoded(contents: Sequence[bytes], scratch: Path) -> list[DecodedAudio] | None:
    """None where ffmpeg fails for one of the files, or gives less than the file promises."""
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".ffmpeg-") as name:
        folder = Path(name)
        inputs: list[str] = []
        outputs: list[str] = []
        for index, content in enumerate(contents):
            (folder / f"{index}.m4a").write_bytes(content)
            inputs += ["-threads", "1", "-protocol_whitelist", "file", "-i", f"{index}.m4a"]
            outputs += ["-map", f"{index}:a:0", "-ar", str(SAMPLE_RATE_HZ), "-ac", "1"]
            outputs += ["-threads", "1", "-f", "s16le", f"{index}.raw"]
        finished = subprocess.run(
            ["ffmpeg", "-nostdin", "-hide_banner", "-nostats", "-xerror", *inputs, *outputs],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if finished.returncode < 0:
            raise OSError(f"ffmpeg was stopped by signal {-finished.returncode}; run this again.")
        if finished.returncode != 0 and FULL_DISK in finished.stderr:
            raise OSError(errno.ENOSPC, FULL_DISK, name)
        promised = _promised(finished.stderr)
        if finished.returncode != 0 or len(promised) != len(contents):
            return None
        answers = []
        for index, (duration_sec, sample_rate_hz, layout) in enumerate(promised):
            samples = np.fromfile(folder / f"{index}.raw", dtype="<i2").astype(np.int16, copy=False)
            error_sec = abs(seconds_from_samples(len(samples)) - duration_sec)
            if len(samples) == 0 or error_sec > MAX_DURATION_ERROR_SEC:
                return None
            was_converted = (sample_rate_hz, layout) != (SAMPLE_RATE_HZ, "mono")
            answers.append(DecodedAudio(samples=samples, was_converted=was_converted))
        return answers


def _promised(log: str) -> list[tuple[float, int, str]]:
    """Duration in seconds, sampling rate and channels of each input, as ffmpeg tells them."""
    promised: list[tuple[float, int, str]] = []
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
            promised.append((duration_sec, int(found.group(1)), found.group(2)))
            duration_sec = None  # a second audio stream is not read
    return promised
