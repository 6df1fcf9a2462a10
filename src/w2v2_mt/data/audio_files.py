"""Audio files of any rate, channel count and format that libsndfile reads: found, and read."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from jaxtyping import Float
from torch import Tensor

_BYTES_OF_A_FRAME = 2881
"""At most, of an mp3."""
_COUNT_OF_FRAMES = re.compile(rb"VBRI|(?:Xing|Info)...(?P<flags>.)", re.DOTALL)
_LOWEST_RATE_HZ = 1000
"""Below it there is no speech, and the ratio of the rates may round to zero."""

_LOUDEST = 1e12
"""Full scale is 1, in some files of floats 2**31; squares of much more exceed float32."""

_NO_SUFFIXES_OF_AUDIO = {"raw", "mat4", "mat5"}
"""Formats of libsndfile that cannot be read without being told how, or are hardly ever audio."""

_MORE_SUFFIXES = {"aif", "opus", "oga", "sph"}
"""Those of files in the formats AIFF, OGG and NIST."""

_FOREIGN_SUFFIXES = {"m4a", "aac", "mp4", "webm", "wma", "amr", "3gp"}
"""Of audio that libsndfile does not read: who has it in a folder is told of it."""

_UNKNOWN_NUM_SAMPLES = 2**62
"""From here on, libsndfile means that a file does not say how long it is."""

_UNKNOWN_SIZE = 0x7FFF0000
"""From here on, programs that write to a pipe mean that they did not know the size."""

_CUT = re.compile(
    r"(?:data|SSND|BODY|Data Size|riff)\s*: (?P<told>\d+) \(should be (?P<there>\d+)\)"
    r"|count (?P<frames_there>\d+) does not match value from 'ds64' chunk of (?P<frames_told>\d+)"
)
"""How libsndfile says that a WAV, AIFF, SVX, AU, W64 or RF64 is shorter than its header tells."""

_UNFINISHED = re.compile(r"end-of-stream (?:bit|flag)|truncated file", re.IGNORECASE)
"""How it says that an OGG or VOC has no end."""

_NIST_COUNT = re.compile(rb"^sample_count -i (\d+)$", re.MULTILINE)
_NIST_HEADER_BYTES = 1024


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """What is known of a readable audio file before its samples are read.

    Args:
        num_source_samples: of each channel.
        first_frame_byte: where the frames begin of an mp3 that does not say how long it is; None
            for all other files.
    """

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_source_samples: int
    first_frame_byte: int | None

    @property
    def duration_sec(self) -> float:
        return self.num_source_samples / self.sample_rate_hz


def find_audio_files(paths: Sequence[Path]) -> list[Path]:
    """The named files, and those in named folders, at any depth, whose suffix is one of audio.

    Not all of them can be read: there are formats that libsndfile does not know, and broken links.

    Raises ValueError where a path does not exist or a folder has no such file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"there is no {path}; name audio files or folders of them.")
        if not path.is_dir():
            found.append(path)
            continue
        suffixes = audio_suffixes() | {f".{name}" for name in _FOREIGN_SUFFIXES}
        inside = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in suffixes and not file.is_dir()
        )
        if not inside:
            raise ValueError(
                f"the folder {path} has no audio file (their suffixes are "
                f"{', '.join(sorted(audio_suffixes()))}); name another one, or name its files."
            )
        found += inside
    return list(dict.fromkeys(found))


def audio_suffixes() -> set[str]:
    """How the names of the files end that libsndfile can read here."""
    formats = {name.lower() for name in soundfile.available_formats()} - _NO_SUFFIXES_OF_AUDIO
    return {f".{name}" for name in formats | _MORE_SUFFIXES}


def read_header(path: Path) -> AudioFile:
    """A file that does not say how long it is, is decoded to count its samples.

    Raises ValueError where it is no audio file, an empty one, or one that was cut.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{str(path)!a} is no name in UTF-8, and a result could not name the file; rename it."
        ) from error
    try:
        info = soundfile.info(path)
        first_frame_byte = _first_frame_byte(path) if info.format == "MP3" else None
        num_source_samples = info.frames
        if first_frame_byte is not None or num_source_samples >= _UNKNOWN_NUM_SAMPLES:
            with _opened(path, first_frame_byte) as file:
                num_source_samples = sum(map(len, _blocks(file)))
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(f"{path} cannot be read as audio ({_reason(error)}).") from error
    _check_whole(path, info)
    if num_source_samples == 0:
        raise ValueError(f"{path} is empty: it has no samples.")
    if info.samplerate < _LOWEST_RATE_HZ:
        raise ValueError(
            f"{path} has a sample rate of {info.samplerate} Hz; give a file of {_LOWEST_RATE_HZ} "
            "Hz or more."
        )
    return AudioFile(
        path=path,
        sample_rate_hz=info.samplerate,
        num_channels=info.channels,
        num_source_samples=num_source_samples,
        first_frame_byte=first_frame_byte,
    )


def _check_whole(path: Path, info: Any) -> None:
    """Raises ValueError where the end is missing, which libsndfile at most mentions."""
    lengths = [
        (int(found["told"] or found["frames_told"]), int(found["there"] or found["frames_there"]))
        for found in _CUT.finditer(info.extra_info)
    ]
    if info.format == "NIST":
        with path.open("rb") as file:
            header = file.read(_NIST_HEADER_BYTES)
        lengths += [(int(count), info.frames) for count in _NIST_COUNT.findall(header)]
    for told, there in lengths:
        if there < told < _UNKNOWN_SIZE:
            raise ValueError(
                f"{path} is cut: it holds {100 * there / told:.4g} % of what its header tells of; "
                "use the whole file."
            )
    if _UNFINISHED.search(info.extra_info):
        raise ValueError(f"{path} is cut: it has no end; use the whole file.")


def _first_frame_byte(path: Path) -> int | None:
    """Where the frames of an mp3 begin; None if the first one counts the others.

    It stands behind an ID3v2 tag, whose size is in four bytes of seven bits. Source: the headers
    VBRI (Fraunhofer) and Xing or Info (LAME), of which a bit tells whether they have a count.

    Raises ValueError where it could count, and does not: then there is no way to the end.
    """
    position = 0
    with path.open("rb") as file:
        tag = file.read(10)
        if tag[:3] == b"ID3":
            high, *rest = tag[6:10]
            size = high
            for seven_bits in rest:
                size = size << 7 | seven_bits
            position = 10 + size
        file.seek(position)
        first_frame = file.read(_BYTES_OF_A_FRAME)
    found = _COUNT_OF_FRAMES.search(first_frame)
    if found is None:
        return position
    if found["flags"] is not None and not found["flags"][0] & 1:
        raise ValueError(
            f"{path} has a header without the number of its frames; convert it with: "
            f"ffmpeg -i {path.name} {path.stem}.flac"
        )
    return None


class _Stream(soundfile.SoundFile):
    """A file that is read from its beginning to its end.

    soundfile seeks in what it can to where each read ends, and the frames of an mp3 behind such a
    place then lack what earlier frames held for them.
    """

    def seekable(self) -> bool:
        return False


@contextmanager
def _opened(path: Path, first_frame_byte: int | None) -> Iterator[_Stream]:
    """The file, or a pipe with its frames where libsndfile does not know how many they are.

    Of such a file it guesses a length and reads no further; a pipe it reads to the end.
    """
    if first_frame_byte is None:
        with _Stream(path) as file:
            yield file
        return
    with path.open("rb", buffering=0) as frames:
        frames.seek(first_frame_byte)
        with subprocess.Popen(["cat"], stdin=frames, stdout=subprocess.PIPE) as cat:
            assert cat.stdout is not None
            with _Stream(cat.stdout.fileno(), closefd=False) as file:
                yield file


def _blocks(file: _Stream) -> Iterator[np.ndarray]:
    """A second at a time: samples by channels."""
    while len(block := file.read(file.samplerate, dtype="float32", always_2d=True)):
        yield block


def mono_blocks(audio: AudioFile) -> Iterator[Float[Tensor, " _"]]:
    """A second of the mean over the channels at a time, at the rate of the file.

    Raises ValueError where the file is damaged, cut, or holds values that are no sound.
    """
    num_read = 0
    try:
        with _opened(audio.path, audio.first_frame_byte) as file:
            for block in _blocks(file):
                num_read += len(block)
                mono = torch.from_numpy(block).mean(dim=1)
                if not (mono.abs() < _LOUDEST).all():  # Nor is NaN.
                    raise ValueError(
                        f"{audio.path} holds NaN, infinite or impossibly large values."
                    )
                yield mono
    except (soundfile.SoundFileError, OSError) as error:
        raise ValueError(
            f"{audio.path} is damaged after {num_read / audio.sample_rate_hz:.1f} s "
            f"({_reason(error)})."
        ) from error
    if num_read < audio.num_source_samples:
        raise ValueError(
            f"{audio.path} ends after {num_read / audio.sample_rate_hz:.1f} s, not after "
            f"{audio.duration_sec:.1f} s as its header says."
        )


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).rstrip(".")
