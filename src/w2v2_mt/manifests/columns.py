"""The columns of a manifest: which value of a recording each one holds, by its name."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches

COLUMN_NAMES: Mapping[str, Sequence[str]] = {
    "path": ("path", "audio_filepath", "file_name", "filename", "file", "audio", "wav"),
    "text": ("text", "transcription", "transcript", "sentence"),
    "speaker": ("speaker", "speaker_id", "speaker_name", "spk_id", "client_id", "reader_id"),
    "session": ("session", "session_id"),
    "split": ("split",),
    "start": ("start", "offset", "start_sec", "start_time"),
    "end": ("end", "end_sec", "end_time"),
    "duration": ("duration",),
    "sex": ("sex", "gender"),
}
"""The names of the column of each value; the first one wins over the others."""

COMPUTED = ("key", "speaker_id_idx", "num_frames", "sampling_rate")
"""Names of values that shards hold anyway; columns of these names are not kept."""

_LABELS_OF_SHARDS = ("transcription", "speaker_id", "session_id")
_MAX_COLUMNS = 1000
_MAX_COLUMNS_IN_MESSAGES = 12


def match_columns(names: Sequence[str], *, source: str) -> dict[str, str | None]:
    """Return the value that each column holds, or None for a column that is kept as metadata.

    The case of a name does not matter, nor do spaces around it. Columns that shards compute are
    skipped.

    Args:
        names: The names as the file has them.
        source: The file or line with the names, for messages.

    Raises:
        ValueError: A name is nearly that of a value that has no column, or two columns have the
            same name or hold the same value.
    """
    if len(names) > _MAX_COLUMNS:
        raise ValueError(
            f"{source} has {len(names)} columns; at most {_MAX_COLUMNS} are read. Is it a manifest?"
        )
    plain = [name.strip().casefold().replace(" ", "_") for name in names]
    fields: dict[str, str | None] = {}
    for field, synonyms in COLUMN_NAMES.items():
        places = [place for place, name in enumerate(plain) if name in synonyms]
        exact = [place for place in places if plain[place] == field]
        if len(exact or places) > 1:
            both = " and ".join(repr(names[place]) for place in (exact or places)[:2])
            raise ValueError(
                f"{source} has the columns {both}, which both are the {field} of a recording. "
                "Remove or rename one of them."
            )
        for place in exact or places:
            fields[names[place]] = field
    for name, plain_name in zip(names, plain, strict=True):
        if name in fields or not name:  # The index of a table of pandas has no name.
            continue
        _check_spelling(name, plain_name, missing=set(COLUMN_NAMES) - {*fields.values()}, at=source)
        if plain_name not in (*COMPUTED, *_LABELS_OF_SHARDS):
            fields[name] = None
    twice = next((name for place, name in enumerate(names) if name and name in names[:place]), "")
    if twice:
        raise ValueError(f"{source} has two columns {twice!r}. Remove or rename one of them.")
    return fields


def describe_columns(names: Sequence[str]) -> str:
    """Return the names of columns for a message, of which long lists are abridged."""
    shown = ", ".join(repr(name[:40]) for name in names[:_MAX_COLUMNS_IN_MESSAGES])
    return shown + (", ..." if len(names) > _MAX_COLUMNS_IN_MESSAGES else "")


def _check_spelling(name: str, plain_name: str, *, missing: set[str], at: str) -> None:
    known = [
        each
        for field, synonyms in COLUMN_NAMES.items()
        if field in missing and field != "duration"  # a column "duration_ms" is metadata
        for each in synonyms
    ]
    near = get_close_matches(plain_name, known, n=1, cutoff=0.8)
    near += [each for each in known if sorted(each) == sorted(plain_name)]
    if near:
        raise ValueError(
            f"{at} has the column {name!r}, which is not the name of a label. Did you mean "
            f"{near[0]!r}? Rename it to that; if it is something else, give it a name that is "
            "less like it."
        )
