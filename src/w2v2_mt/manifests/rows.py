"""The rows of a manifest in any form: the labels of a recording as text, before they are checked.

Faults of one line are `LineError`; those of a whole manifest are plain ValueErrors.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from w2v2_mt.manifests.columns import describe_columns, match_columns
from w2v2_mt.manifests.rejections import Rejection

_NUM_SHARED_METADATA = 4096
_MAX_COLUMN_SETS = 1000


class LineError(ValueError):
    """A fault of one line, which is rejected while the others are read."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """The labels of one recording as a manifest has them.

    Args:
        line: The file and the number of the line, for messages.
        labels: Texts by the names of `columns.COLUMN_NAMES`; unknown ones are
            missing or empty.
        metadata: Further columns, which the shards keep.
    """

    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


@lru_cache(_NUM_SHARED_METADATA)
def shared_metadata(columns: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return metadata by column, which rows with the same ones share to save memory."""
    return dict(columns)


Rows = Iterator[Row | Rejection]
"""The rows in their order; a line that cannot be read is a rejection."""


class JsonRows:
    """The rows of JSON objects, whose names may differ from one to the next.

    Args:
        columns: Receives what each name holds, as of `match_columns`.
    """

    def __init__(self, columns: dict[str, str | None]) -> None:
        self._columns = columns
        self._by_names: dict[tuple[str, ...], dict[str, str | None]] = {}

    def make(self, values: Mapping[str, Any], *, line: str) -> Row | Rejection:
        """Return the row of an object; null is a value that is unknown.

        A rejection is for an object without a path, or a label that is not a text or a number.

        Raises:
            ValueError: The names are misspelt or ambiguous.
        """
        names = tuple(values)
        if names not in self._by_names:
            if len(self._by_names) == _MAX_COLUMN_SETS:
                self._by_names.clear()
            self._by_names[names] = match_columns(names, source=line)
            self._columns.update(self._by_names[names])
        labels: dict[str, str] = {}
        metadata: list[tuple[str, str]] = []
        for name, label in self._by_names[names].items():
            value = values[name]
            if value is None:
                continue
            if label is not None and isinstance(value, bool | list | dict):
                shown = json.dumps(value)[:40]
                return Rejection(line, f"its {name!r} ({shown}) must be a text or a number.")
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if label is not None:
                labels[label] = text
            elif text:
                metadata.append((name, text))
        if "path" not in labels:
            return Rejection(line, f"it has no path, but {describe_columns(names)}.")
        return Row(line=line, labels=labels, metadata=shared_metadata(tuple(metadata)))
