"""Tables with a recording in each row: CSV, TSV, and JSON lines, of which NeMo's are a kind."""

import csv
import json
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from w2v2_mt.core.limits import MAX_LINE_BYTES
from w2v2_mt.core.units import count
from w2v2_mt.manifests.columns import describe_columns, match_columns
from w2v2_mt.manifests.lines import first_line, read_lines
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.manifests.rows import JsonRows, Row, Rows, shared_metadata

_DELIMITERS = "\t,;"
_MAX_LINES_OF_RECORD = 1000
"""The most lines over which a quoted text may go."""

NumberedLines = Iterator[tuple[int, str]]


def read_separated(path: Path, *, name: str, columns: dict[str, str | None]) -> Rows:
    """Yield the rows of a table with a line of headings, separated by tabs, commas or semicolons.

    Of these, the first one in the headings separates. A text that holds it, or a line feed, is in
    double quotes. Source: RFC 4180.

    Args:
        path: The file.
        name: The name of the file in messages.
        columns: Receives what each column holds.
    """
    headings = first_line(path)
    delimiter = next((each for each in _DELIMITERS if each in headings), ",")
    lines = read_lines(path)
    _, names = next(_records(lines, delimiter, num_columns=None))
    if isinstance(names, str):
        raise ValueError(f"the headings of {path} cannot be read: {names}")
    columns.update(match_columns(names, source=name))
    if "path" not in columns.values():
        raise ValueError(
            f"{name} has no column 'path', but {describe_columns(names)}. Its first line must be "
            "headings, one of which is 'path'."
        )
    places = {names.index(column): (column, label) for column, label in columns.items()}
    labels_at = [(place, label) for place, (_, label) in places.items() if label is not None]
    metadata_at = [(place, column) for place, (column, label) in places.items() if label is None]
    for number, record in _records(lines, delimiter, num_columns=len(names)):
        line = f"{name}, line {number}"
        if isinstance(record, str):
            yield Rejection(line, record)
            continue
        metadata = tuple((column, record[place]) for place, column in metadata_at if record[place])
        labels = {label: record[place].strip(" ") for place, label in labels_at}
        yield Row(line=line, labels=labels, metadata=shared_metadata(metadata))


def _records(
    lines: NumberedLines, delimiter: str, *, num_columns: int | None
) -> Iterator[tuple[int, list[str] | str]]:
    """Yield the number of the first line of each record, and its fields or why it has none."""
    waiting: deque[tuple[int, str]] = deque()

    def take() -> tuple[int, str] | None:
        return waiting.popleft() if waiting else next(lines, None)

    while (numbered := take()) is not None:
        number, line = numbered
        if not line.strip():
            continue
        record = _split(line, delimiter, num_columns)
        if isinstance(record, str) and line.count('"') % 2:
            further = _lines_to_closing_quote(take)
            longer = _split(
                "\n".join([line, *(each for _, each in further)]), delimiter, num_columns
            )
            if isinstance(longer, str):  # A quote that is never closed takes no other line with it.
                waiting.extendleft(reversed(further))
            else:
                record = longer
        yield number, record


def _lines_to_closing_quote(take: Callable[[], tuple[int, str] | None]) -> list[tuple[int, str]]:
    """Take lines up to the first one with an odd number of quotes."""
    taken = []
    num_characters = 0
    while (numbered := take()) is not None:
        taken.append(numbered)
        num_characters += len(numbered[1])
        is_too_long = len(taken) == _MAX_LINES_OF_RECORD or num_characters > MAX_LINE_BYTES
        if numbered[1].count('"') % 2 or is_too_long:
            break
    return taken


def _split(record: str, delimiter: str, num_columns: int | None) -> list[str] | str:
    """Return the fields of a record, or in a sentence why it is not one."""
    if '"' in record:
        try:
            ((*fields,),) = csv.reader([record], delimiter=delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            return (
                f"its quotes are not those of a table ({error}). A field with quotes in it is in "
                'double quotes, and those in it are doubled: "He said ""yes"".".'
            )
    else:
        fields = record.split(delimiter)
    if num_columns is None or len(fields) == num_columns:
        return fields
    return (
        f"it has {count(len(fields), 'field')}, and the headings have {num_columns}. A text with "
        f"{delimiter!r} in it must be in double quotes."
    )


def read_json_lines(path: Path, *, name: str, columns: dict[str, str | None]) -> Rows:
    """Yield the rows of a file with a JSON object in each line.

    Args:
        path: The file.
        name: The name of the file in messages.
        columns: Receives what each name of the objects holds.
    """
    rows = JsonRows(columns)
    for line, values in json_objects(path, name=name):
        yield values if isinstance(values, Rejection) else rows.make(values, line=line)


def json_objects(path: Path, *, name: str) -> Iterator[tuple[str, dict[str, Any] | Rejection]]:
    """Yield the place of each line and its JSON object, or the rejection of a line without one."""
    for number, text in read_lines(path):
        if not text.strip():
            continue
        line = f"{name}, line {number}"
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            yield line, Rejection(line, f"it is not JSON ({error}).")
            continue
        if isinstance(values, dict):
            yield line, values
        else:
            yield line, Rejection(line, "it is JSON, but not an object with names: {...}.")
