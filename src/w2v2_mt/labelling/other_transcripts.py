"""Transcripts of another speech recognizer, joined to utterances by their keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from w2v2_mt.core.registry import did_you_mean
from w2v2_mt.manifests.columns import COLUMN_NAMES
from w2v2_mt.manifests.labels import segment
from w2v2_mt.manifests.recordings import recording_key
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.tables import json_objects

_TEXT_NAMES = ("pred_text", *COLUMN_NAMES["text"])
"""The first is that of NeMo's transcripts, whose `text` is the reference."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OtherTranscript:
    """A transcript; the confidence is None if the other system has none."""

    text: str
    confidence: float | None


def read_transcripts(path: Path, *, root: Path) -> dict[str, OtherTranscript]:
    """Return the transcripts in a file of JSON lines, by the keys of their utterances.

    A line has `key`, or the path of the audio under a name that a manifest may use, with `start`
    and `end` or `duration` for a part of a file; the text as `pred_text` or under a name of a
    manifest; and perhaps `confidence`, from 0 to 1. So it may be the output of `w2v2-mt predict`.

    Args:
        path: The file.
        root: The folder against which paths count.

    Raises:
        ValueError: A line is wrong, or two lines of a key differ.
    """
    transcripts: dict[str, OtherTranscript] = {}
    for line, values in json_objects(path, name=path.name):
        if isinstance(values, Rejection):
            raise ValueError(f"{line}: {values.reason}")
        try:
            key, transcript = _key_of(values, root), _transcript_of(values)
        except ValueError as error:
            raise ValueError(f"{line}: {error} Correct the line.") from error
        if transcripts.setdefault(key, transcript) != transcript:
            raise ValueError(f"{line}: {key} has another transcript before. Remove one of them.")
    return transcripts


def _key_of(values: Mapping[str, Any], root: Path) -> str:
    if "key" in values:
        return str(values["key"])
    path = next((values[name] for name in COLUMN_NAMES["path"] if name in values), None)
    if not isinstance(path, str) or not path:
        raise ValueError("it must have a key or a path.")
    if Path(path).is_absolute():
        if not Path(path).is_relative_to(root.absolute()):
            raise ValueError(f"its path {path!r} must be in {root}.")
        path = str(Path(path).relative_to(root.absolute()))
    times = {
        label: str(values[name])
        for label in ("start", "end", "duration")
        for name in COLUMN_NAMES[label]
        if values.get(name) is not None
    }
    start_sec, end_sec = segment(times)
    return recording_key(path, start_sec=start_sec, end_sec=end_sec)


def _transcript_of(values: Mapping[str, Any]) -> OtherTranscript:
    name = next((name for name in _TEXT_NAMES if name in values), None)
    if name is None:
        near = (did_you_mean(each, list(_TEXT_NAMES)) for each in values)
        raise ValueError(f"it has no text. {next(filter(None, near), '')}".rstrip())
    text, confidence = values[name], values.get("confidence")
    if not isinstance(text, str):
        raise ValueError(f"its {name} must be a text, not {text!r:.40}.")
    is_number = isinstance(confidence, int | float) and not isinstance(confidence, bool)
    if confidence is not None and not (is_number and 0 <= confidence <= 1):
        raise ValueError(f"its confidence ({confidence!r:.40}) must be from 0 to 1.")
    return OtherTranscript(text=text, confidence=confidence)
