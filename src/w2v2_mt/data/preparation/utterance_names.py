"""The name of a VoxCeleb utterance: who, in which video, which piece of it."""

import re
import sys
from pathlib import PurePosixPath
from typing import NamedTuple

PART = re.compile(r"[A-Za-z0-9_-]+")


class UtteranceName(NamedTuple):
    """`key` is `<speaker>/<video>/<utterance>`."""

    speaker_id: str
    video_id: str
    utterance_id: str

    @property
    def key(self) -> str:
        return "/".join(self)

    @property
    def video(self) -> tuple[str, str]:
        return self.speaker_id, self.video_id


def parse_key(key: str, *, source: str) -> UtteranceName:
    """The parts of a key; `source` names its origin in the ValueError that a wrong one raises."""
    parts = key.split("/")
    if len(parts) != 3 or not all(PART.fullmatch(part) for part in parts):
        raise ValueError(
            f"{source} names {key!r}, which is not <speaker>/<video>/<utterance> in letters, "
            "digits, '_' and '-'; use the official file."
        )
    # Speakers, videos and numbers recur: a million names share their parts.
    return UtteranceName(*map(sys.intern, parts))


def parse_member_name(name: str, *, source: str) -> UtteranceName | None:
    """The utterance in a file `.../<speaker>/<video>/<utterance>.<suffix>`; None for hidden files.

    `source` names the archive in the ValueError that another layout raises.
    """
    path = PurePosixPath(name)
    if any(part.startswith(".") for part in path.parts):
        return None
    return parse_key("/".join(path.with_suffix("").parts[-3:]), source=source)
