"""The rows of a manifest in any form: the labels of a recording as text, before they are checked.

Faults of one line are `LineError`; those of a whole manifest are plain ValueErrors.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from w2v2_mt.prepare.manifest.columns import describe_columns, match_columns
from w2v2_mt.prepare.rejections import Rejection

NO_METADATA: Mapping[str, str] = {}
"""Shared by the rows without metadata, of which there may be a million."""

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

    def make(self, values: Mapping[str, Any], *, line: str) -> Row:
        """Return the row of an object; null is a value that is unknown.

        Raises:
            LineError: There is no path, or a label is neither a text nor a number.
            ValueError: The names are misspelt or ambiguous.
        """
        names = tuple(values)
        if names not in self._by_names:
            if len(self._by_names) == _MAX_COLUMN_SETS:
                self._by_names.clear()
            self._by_names[names] = match_columns(names, source=line)
            self._columns.update(self._by_names[names])
        labels: dict[str, str] = {}
        metadata: dict[str, str] = {}
        for name, label in self._by_names[names].items():
            value = values[name]
            if value is None:
                continue
            if label is not None and isinstance(value, bool | list | dict):
                shown = json.dumps(value)[:40]
                raise LineError(f"its {name!r} ({shown}) must be a text or a number.")
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            if label is not None:
                labels[label] = text
            elif text:
                metadata[name] = text
        if "path" not in labels:
            raise LineError(f"it has no path, but {describe_columns(names)}.")
        return Row(line=line, labels=labels, metadata=metadata or NO_METADATA)
