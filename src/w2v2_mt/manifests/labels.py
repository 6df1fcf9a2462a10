"""The labels of a row: checked, and made a recording."""

import re
import sys
from collections.abc import Mapping

from w2v2_mt.core.registry import did_you_mean
from w2v2_mt.manifests.audio_root import AudioRoot
from w2v2_mt.manifests.recordings import Recording, Sex, SplitName, milliseconds, recording_key
from w2v2_mt.manifests.rows import LineError, Row

SPLIT_NAMES: Mapping[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "development": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
}
"""The names in the `audiofolder` of HuggingFace datasets, and `development`."""

_SEXES: Mapping[str, Sex] = {
    "m": "m",
    "male": "m",
    "man": "m",
    "male_masculine": "m",
    "f": "f",
    "female": "f",
    "woman": "f",
    "female_feminine": "f",
}
"""The last of each sex is that of Common Voice."""

_SECONDS = re.compile(r"(\d{1,9}(\.\d*)?|\.\d+)(e-\d{1,3})?", re.ASCII | re.IGNORECASE)


def make_recording(row: Row, root: AudioRoot, *, keep_unlabelled: bool) -> Recording:
    """Return the recording of a row after checks of its labels and its file.

    Args:
        row: Its path may be absolute, if it is below the root.
        root: The folder of all audio.
        keep_unlabelled: True keeps a recording with neither a text nor a speaker.

    Raises:
        LineError: A label is wrong, or the file cannot be read from the root.
        ValueError: The split is not one, which puts all splits in doubt.
    """
    labels = row.labels
    if not labels.get("path"):
        raise LineError("it has no path.")
    text = labels.get("text", "").strip() or None
    if text is not None and "\0" in text:
        raise LineError("its text holds a NUL character.")
    speaker = _name(labels, "speaker")
    if text is None and speaker is None and not keep_unlabelled:
        text_is = "its text is empty" if "text" in labels else "it has no text"
        raise LineError(f"{text_is} and it has no speaker, so that no task can learn from it.")
    start_sec, end_sec = segment(labels)
    path = root.relative(labels["path"])
    return Recording(
        key=recording_key(path, start_sec=start_sec, end_sec=end_sec),
        path=path,
        line=row.line,
        start_sec=start_sec,
        end_sec=end_sec,
        text=text,
        speaker=speaker,
        session=_name(labels, "session"),
        split=split_name(labels.get("split", ""), line=row.line),
        sex=_SEXES.get(labels.get("sex", "").strip().casefold()),
        metadata=row.metadata,
    )


def split_name(text: str, *, line: str) -> SplitName | None:
    """Return the split of a name, or None for an empty one; raise ValueError for any other."""
    name = text.strip().casefold()
    if not name:
        return None
    if name not in SPLIT_NAMES:
        advice = did_you_mean(name, list(SPLIT_NAMES)) or "Rename it."
        raise ValueError(
            f"{line}: the split {text!r} must be one of {', '.join(SPLIT_NAMES)}, or empty. "
            f"{advice}"
        )
    return SPLIT_NAMES[name]


def segment(labels: Mapping[str, str]) -> tuple[float | None, float | None]:
    """Return start and end in seconds, to the millisecond; None twice for a whole file.

    A duration counts from the start, and nothing without one: it is then that of the file. Raises
    LineError where a time is not a number of seconds, or the end is not after the start.
    """
    start_sec, end_sec, duration_sec = (_seconds(labels, each) for each in _TIMES)
    if end_sec is None and start_sec is not None and duration_sec is not None:
        end_sec = start_sec + duration_sec
    start_ms = milliseconds(start_sec or 0)
    if end_sec is None:
        return (start_ms / 1000, None) if start_ms else (None, None)
    end_ms = milliseconds(end_sec)
    if end_ms <= start_ms:
        raise LineError(
            f"its end ({end_ms / 1000:g} s) must be after its start ({start_ms / 1000:g} s)."
        )
    return start_ms / 1000, end_ms / 1000


_TIMES = ("start", "end", "duration")


def _seconds(labels: Mapping[str, str], name: str) -> float | None:
    text = labels.get(name, "").strip()
    if not text:
        return None
    if _SECONDS.fullmatch(text) is None:
        raise LineError(
            f"its {name} ({text[:40]!r}) must be a number of seconds from 0, such as 12.345."
        )
    return float(text)


def _name(labels: Mapping[str, str], label: str) -> str | None:
    """Return the name of a speaker or a session, of which a million recordings share a copy."""
    name = labels.get(label, "").strip()
    if not name:
        return None
    if not name.isprintable():
        raise LineError(f"its {label} {name[:40]!r} holds a character that cannot be printed.")
    return sys.intern(name)
