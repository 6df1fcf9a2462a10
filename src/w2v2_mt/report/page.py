"""Pages of reports: HTML from templates that opens from disk and fetches nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich.table
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from w2v2_mt.core.atomic_output import atomic_replacement, make_folder, replace_text
from w2v2_mt.core.console import plain_console, print_table
from w2v2_mt.core.terminal import visible
from w2v2_mt.core.units import count
from w2v2_mt.report.pictures import SERIES, Picture, is_own_picture
from w2v2_mt.runs.folder_lock import locked
from w2v2_mt.runs.run_folder import REPORT_FOLDER

PAGE_FILE = "index.html"

_WAIT_SEC = 60
"""A run that ends waits as long for a report that somebody writes of it just then."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts under named columns, of which the first `num_word_columns` hold words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_word_columns: int = 1


@dataclass(frozen=True, kw_only=True)
class Report:
    """The path of a page, with its pictures and tables for loggers that show them elsewhere."""

    path: Path
    pictures: Sequence[Picture]
    tables: Sequence[Table]


def _finalize(value: object) -> object:
    # Markup is a picture, a table or a part of a template.
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def page_title(kind: str, name: str) -> str:
    """Return the heading of a page: the kind and the name, which may begin with the kind."""
    if name.casefold().startswith(kind.casefold()):
        return name[:1].upper() + name[1:]
    return f"{kind} {name}".rstrip()


def write_page(
    folder: Path,
    template: str,
    *,
    title: str,
    pictures: Sequence[Picture],
    tables: Sequence[Table],
    **content: object,
) -> Report:
    """Write a page and, next to it, its pictures, in place of those of an earlier report.

    Args:
        folder: The folder of the run or sweep, which gets a folder for the page.
        template: The name of the page's template.
        title: The heading of the page.
        pictures: The pictures that are also written as PNG files.
        tables: The tables of the report.
        content: What the template shows in addition to the pictures. Texts are escaped.
    """
    # Names of sets, tags and transcripts are texts of others, so that everything is escaped.
    environment = Environment(
        loader=PackageLoader("w2v2_mt.report"),
        extensions=["jinja2.ext.do"],
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(template).render(
        title=title, pictures=pictures, headings=[], series=SERIES, count=count, **content
    )
    report_folder = folder / REPORT_FOLDER
    make_folder(report_folder)
    path = report_folder / PAGE_FILE
    with locked(report_folder, wait_sec=_WAIT_SEC):
        for old in report_folder.glob("*.png"):
            if is_own_picture(old):
                old.unlink()
        for picture in pictures:
            with atomic_replacement(report_folder / f"{picture.name}.png") as part:
                part.write_bytes(picture.png)
        replace_text(path, text)
    return Report(path=path, pictures=pictures, tables=tables)


def print_report(report: Report, tables: Sequence[Table]) -> None:
    """Print tables and the path of the page; into a file, each row is one line."""
    console = plain_console()
    if not console.is_terminal:
        console = plain_console(width=1000)
    for table in tables:
        shown = rich.table.Table(title=table.title, title_justify="left")
        for number, column in enumerate(table.columns):
            is_words = number < table.num_word_columns
            shown.add_column(column, justify="left" if is_words else "right")
        for row in table.rows:
            shown.add_row(*row)
        print_table(console, shown)
    console.print(f"Report: {report.path}", soft_wrap=True, highlight=False)
