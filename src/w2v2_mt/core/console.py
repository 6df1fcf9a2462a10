"""The console of commands, for tables and sentences that name files."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import replace
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from w2v2_mt.core.terminal import visible

_MIN_WORDS = 12
"""Width to which a column of names may be wrapped."""
_MIN_HEADING = 5
"""Width to which the heading of figures may be wrapped."""


class PlainConsole(Console):
    """A console that prints texts, also those in tables, unchanged but for control characters.

    Rich would otherwise take `[best]` for a style and `:a:` for a symbol.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text to print."""
        return super().render_str(visible(text), **options)


def plain_console(*, stderr: bool = False, width: int | None = None) -> Console:
    """Return a console that prints texts unchanged but for control characters."""
    return PlainConsole(stderr=stderr, width=width, markup=False, emoji=False)


def print_table(console: Console, table: Table) -> None:
    """Print a table within the width of the console; figures stay whole.

    Figures are the columns that are aligned to the right. Names and headings are wrapped, and
    columns that do not fit are printed below, after the first column again.
    """
    for part in _split(table, console.width):
        console.print(part)


def _split(table: Table, width: int) -> Iterator[Table]:
    """Return tables of some of the columns each, with the first one, that fit into a width."""
    first, *rest = table.columns
    parts: list[list[Column]] = []
    for column in rest:
        if parts and _width([*map(_min_width, (first, *parts[-1], column))], table) <= width:
            parts[-1].append(column)
        else:
            parts.append([column])
    for columns in parts or [[]]:
        shown = [first, *columns]
        least, widths = [*map(_min_width, shown)], [*map(_full_width, shown)]
        while _width(widths, table) > width and widths != least:
            spare = [full - small and full for full, small in zip(widths, least, strict=True)]
            widths[spare.index(max(spare))] -= 1
        part = copy(table)
        part.columns = [
            replace(column, _index=index, width=chosen, overflow="fold", _cells=column._cells)
            for index, (column, chosen) in enumerate(zip(shown, widths, strict=True))
        ]
        yield part


def table_width(table: Table) -> int:
    """Return the width of a table in which nothing is wrapped."""
    return _width([*map(_full_width, table.columns)], table)


def _width(widths: Sequence[int], table: Table) -> int:
    """Return the width of a table, whose columns have a space on each side and lines between."""
    num_lines = len(widths) + (1 if table.show_edge else -1)
    return sum(widths) + 2 * len(widths) + num_lines


def _cell_width(column: Column) -> int:
    return max((cell_len(visible(cell)) for cell in column._cells), default=0)


def _full_width(column: Column) -> int:
    return max(_cell_width(column), cell_len(visible(column.header)), 1)


def _min_width(column: Column) -> int:
    full = _full_width(column)
    if column.justify != "right":
        return min(full, _MIN_WORDS)
    return max(_cell_width(column), min(full, _MIN_HEADING))
