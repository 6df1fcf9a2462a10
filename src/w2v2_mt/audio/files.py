"""Audio files on disk: find them, read what their headers say, and read windows of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from w2v2_mt.audio.decoder import open_audio
from w2v2_mt.audio.file_names import AUDIO_SUFFIXES, files_below, is_audio_name


@dataclass(frozen=True, kw_only=True)
class AudioFile:
    """The metadata of a readable audio file.

    Args:
        num_source_samples: Samples per channel at the rate of the file.
    """

    path: Path
    sample_rate_hz: int
    num_channels: int
    num_source_samples: int

    @property
    def duration_sec(self) -> float:
        """The duration in seconds."""
        return self.num_source_samples / self.sample_rate_hz


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a file at 16 kHz."""

    waveform: Float[Tensor, " samples"]
    start_sample: int
    is_last: bool


def find_audio_files(
    paths: Sequence[Path], *, on_passed_over: Callable[[Path], object] = lambda path: None
) -> list[Path]:
    """Return the named files, and the audio files in the named folders at any depth.

    Files in folders, also in linked ones, are found by `is_audio_name`; named files may have any
    name. `on_passed_over` receives each other file, and all that is not a file.

    Raises:
        ValueError: A path does not exist, is not a regular file, or a folder holds no audio file.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist. Name audio files or folders of them.")
        if not path.is_dir():
            if not path.is_file():
                raise ValueError(
                    f"{path} is a pipe, socket or device, which cannot be read like a file. Name "
                    "audio files or folders of them."
                )
            found.append(path)
            continue
        inside: list[Path] = []
        for file in files_below(path):
            # A broken link is reported when it is read.
            is_regular = file.is_file() or not file.exists()
            is_audio = is_regular and is_audio_name(file.relative_to(path))
            (inside.append if is_audio else on_passed_over)(file)
        if not inside:
            raise ValueError(
                f"the folder {path} holds no audio file, by the suffixes "
                f"{', '.join(sorted(AUDIO_SUFFIXES))}. Name another folder, or name its files."
            )
        found += sorted(inside)
    return list(dict.fromkeys(found))


def read_header(path: Path) -> AudioFile:
    """Read the metadata of an audio file.

    A file whose length is not in its header is decoded to count the samples.

    Raises:
        ValueError: The file is not audio, corrupt, truncated or empty.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{str(path)!a} is not a name in UTF-8, so that a result could not name the file. "
            "Rename the file."
        ) from error
    with open_audio(path, name=str(path)) as audio:
        num_samples = audio.num_samples
        if num_samples is None:
            num_samples = sum(map(len, audio.mono_blocks()))
        return AudioFile(
            path=path,
            sample_rate_hz=audio.sample_rate_hz,
            num_channels=audio.num_channels,
            num_source_samples=num_samples,
        )


def read_windows(audio: AudioFile, *, window_samples: int, hop_samples: int) -> Iterator[Window]:
    """Yield overlapping windows of a file, mixed down to one channel.

    A file that is not longer than a window is one window. Each window holds samples that the one
    before does not; the last one may be shorter.

    Raises:
        ValueError: The file is corrupt, truncated, or holds values that are not sound.
    """
    with open_audio(audio.path, name=str(audio.path)) as stream:
        yield from cut_windows(
            stream.blocks_at_16_khz(), window_samples=window_samples, hop_samples=hop_samples
        )


def cut_windows(
    blocks: Iterable[np.ndarray], *, window_samples: int, hop_samples: int
) -> Iterator[Window]:
    """Yield overlapping windows of a waveform in blocks, as `read_windows`."""
    buffer: np.ndarray = np.empty(0, dtype=np.float32)
    start_sample = 0
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        while len(buffer) > window_samples:
            # A copy, since a view would keep the samples after it in memory.
            waveform = torch.from_numpy(buffer[:window_samples].copy())
            yield Window(waveform=waveform, start_sample=start_sample, is_last=False)
            buffer = buffer[hop_samples:]
            start_sample += hop_samples
    yield Window(waveform=torch.from_numpy(buffer), start_sample=start_sample, is_last=True)
