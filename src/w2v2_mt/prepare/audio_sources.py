"""The place of the audio of an utterance: a file, a segment of one, or a member of an archive."""

from abc import ABC, abstractmethod
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from jaxtyping import Int16


class DecodedAudio(NamedTuple):
    """Samples of 16 bit at 16 kHz in one channel.

    `is_converted` is True if the file has another sample rate or more channels; `num_bytes` is the
    size of what was read.
    """

    samples: Int16[np.ndarray, " samples"]
    is_converted: bool
    num_bytes: int


class OpenFiles(ExitStack):
    """Files that are opened when they are first needed, and closed at the end of the context."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[Path, BinaryIO] = {}

    def open(self, path: Path) -> BinaryIO:
        """Return the opened file."""
        if path not in self._streams:
            self._streams[path] = self.enter_context(path.open("rb"))
        return self._streams[path]


class AudioSource(ABC):
    """The place of the audio of an utterance."""

    __slots__ = ()

    @abstractmethod
    def decode(self, files: OpenFiles, *, source: str) -> DecodedAudio:
        """Return the audio; raise ValueError if it cannot be used.

        Args:
            files: The files that are open already.
            source: The name of the utterance in messages.
        """
