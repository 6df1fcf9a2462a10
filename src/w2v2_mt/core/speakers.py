"""The speaker of an utterance, as its labels name it."""

from collections.abc import Mapping
from typing import Any

SPEAKER_ENTRIES = ("speaker_id", "reader_id")
"""Entries of the metadata that name the speaker: of speaker recognition and of LibriSpeech."""


def labelled_speaker(metadata: Mapping[str, Any]) -> str | None:
    """Return the speaker whom the metadata of an utterance names, without needless white space."""
    named = (metadata.get(name) for name in SPEAKER_ENTRIES)
    speaker = next((each for each in named if each not in (None, "")), None)
    return None if speaker is None else " ".join(str(speaker).split())
