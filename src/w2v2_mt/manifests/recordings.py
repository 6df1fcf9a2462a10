"""The recordings of a corpus, as a manifest or an archive describes them, and their keys."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import splitext
from typing import Literal

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES

Sex = Literal["m", "f"]
SplitName = Literal["train", "val", "test"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recording:
    """An utterance as a manifest or a corpus describes it, before its audio is read.

    Args:
        key: A unique name, as of `recording_key`.
        path: The audio file, relative to the root of the corpus, or the name of a member of an
            archive.
        line: The place that describes the utterance, for messages: `mine.csv, line 3`.
        start_sec: The start of the utterance in the file; None is the start of the file.
        end_sec: The end of the utterance in the file; None is the end of the file.
        text: The transcript; None if there is none.
        speaker: None if the speaker is unknown.
        session: The video, chapter or call in which the utterance was recorded, if it is known.
        split: The set that the corpus assigns; None if the utterance is still to be split.
        metadata: Further values, which the shards keep.
    """

    key: str
    path: str
    line: str
    start_sec: float | None = None
    end_sec: float | None = None
    text: str | None = None
    speaker: str | None = None
    session: str | None = None
    split: SplitName | None = None
    sex: Sex | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_segment(self) -> bool:
        """Return True if the utterance is a part of its file."""
        return self.start_sec is not None or self.end_sec is not None


def recording_key(
    path: str, *, start_sec: float | None = None, end_sec: float | None = None
) -> str:
    """Return the key of a file, or of a segment of it: `a/b`, or `a/b-1500-4250` in milliseconds.

    The key is the path without the suffix of an audio file. Spaces, characters that cannot be
    printed and `%` are written as `%20` and the like, so that a key is one field of a list, and two
    paths with one suffix never have the same key. A segment without an end is `a/b-1500-end`.

    Args:
        path: A path relative to the root, with `/` between folders and without `..`.
        start_sec: The start of a segment; None is the start of the file.
        end_sec: The end of a segment; None is the end of the file.
    """
    key, suffix = splitext(path)
    if suffix.lower() not in AUDIO_SUFFIXES:
        key = path
    if "%" in key or " " in key or not key.isprintable():
        key = "".join(map(_escape, key))
    if start_sec is None and end_sec is None:
        # Lists of trials may name files: a suffix there is not a part of the key.
        return f"{key[:-4]}%2E{key[-3:]}" if key.endswith((".wav", ".m4a")) else key
    end = "end" if end_sec is None else milliseconds(end_sec)
    return f"{key}-{milliseconds(start_sec or 0)}-{end}"


def milliseconds(duration_sec: float) -> int:
    """Return a duration in whole milliseconds; sums that differ in their last digits are equal."""
    return round(round(duration_sec, 6) * 1000)


def _escape(character: str) -> str:
    if character.isprintable() and character not in " %":
        return character
    return "".join(f"%{byte:02X}" for byte in character.encode(errors="surrogatepass"))
