"""A page of a report: html that opens from disk and asks no host for anything."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from w2v2_mt.app.report.pictures import Picture, colour_variables

_STYLE = f"""
:root {{ color-scheme: light dark; --ink: #1c1c1c; --page: #fff; --line: #ccc; --box: #f3f3f3;
  --wrong: #a3240f; --right: #0a5ea8; {colour_variables(dark=False)} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e6e6e6; --page: #181818; --line: #444; --box: #262626;
    --wrong: #ff9d86; --right: #7cc4ff; {colour_variables(dark=True)} }}
}}
* {{ box-sizing: border-box; }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem;
  color: var(--ink); background: var(--page); overflow-wrap: anywhere; }}
h1 {{ line-height: 1.2; }}
h2 {{ margin-top: 2.5rem; border-bottom: 1px solid var(--line); }}
nav a {{ margin-right: 1rem; }}
a {{ color: var(--right); }}
.wide {{ overflow-x: auto; }}
table {{ border-collapse: collapse; margin: .5rem 0 1rem; overflow-wrap: normal; }}
caption {{ text-align: left; font-weight: 600; padding: .25rem 0; }}
th, td {{ text-align: right; white-space: nowrap; padding: .25rem .75rem;
  border-bottom: 1px solid var(--line);
  vertical-align: top; font-variant-numeric: tabular-nums; }}
th.words, td.words {{ text-align: left; }}
.pictures {{ display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 27rem), 1fr)); }}
figure {{ margin: 0; }}
svg {{ display: block; width: 100%; height: auto; }}
svg * {{ stroke-linejoin: round; }}
svg text {{ font-family: system-ui, sans-serif !important; }}
pre {{ overflow-x: auto; background: var(--box); padding: 1rem; }}
summary {{ cursor: pointer; margin: .5rem 0; }}
.failed {{ color: var(--wrong); font-weight: 600; }}
.note {{ opacity: .9; }}
.utterance {{ margin: .5rem 0; padding: .5rem .75rem; background: var(--box); }}
.utterance p {{ margin: 0; }}
del {{ color: var(--wrong); text-decoration: line-through; text-decoration-thickness: 2px; }}
ins {{ color: var(--right); text-decoration: underline; text-decoration-thickness: 2px;
  font-weight: 600; }}
"""

# Whatever a text of the run says, a browser that reads this fetches and runs nothing.
_NOTHING_FROM_OUTSIDE = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of texts under named columns, of which the first `num_word_columns` hold words."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    num_word_columns: int


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading and the html below it."""

    heading: str
    parts: Sequence[str]


def page(title: str, *, opening: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page. `opening`, of html, stands before the first heading; empty sections don't."""
    shown = [section for section in sections if section.parts]
    links = "".join(
        f"<a href='#{_anchor(section)}'>{html.escape(section.heading)}</a>" for section in shown
    )
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        f'<meta http-equiv="Content-Security-Policy" content="{_NOTHING_FROM_OUTSIDE}">',
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        *opening,
        f"<nav>{links}</nav>",
    ]
    for section in shown:
        parts.append(f"<section id='{_anchor(section)}'><h2>{html.escape(section.heading)}</h2>")
        parts += [*section.parts, "</section>"]
    return "\n".join([*parts, "</body></html>\n"])


def _anchor(section: Section) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in section.heading.lower())


def paragraph(text: str, *, kind: str | None = None) -> str:
    """`kind` is a class of the style: failed, note."""
    attribute = "" if kind is None else f" class='{kind}'"
    return f"<p{attribute}>{html.escape(text)}</p>"


def table_html(table: Table) -> str:
    def row(tag: str, cells: Sequence[str]) -> str:
        return "".join(
            f"<{tag} class='words'>{html.escape(cell)}</{tag}>"
            if column < table.num_word_columns
            else f"<{tag}>{html.escape(cell)}</{tag}>"
            for column, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{row('td', cells)}</tr>" for cells in table.rows)
    return (
        f"<div class='wide'><table><caption>{html.escape(table.title)}</caption>"
        f"<tr>{row('th', table.columns)}</tr>{body}</table></div>"
    )


def pictures_html(pictures: Sequence[Picture]) -> list[str]:
    """One part, or none where there is no picture."""
    if not pictures:
        return []
    figures = "".join(
        f"<figure role='img' aria-label='{html.escape(picture.title)}'>{picture.svg}</figure>"
        for picture in pictures
    )
    return [f"<div class='pictures'>{figures}</div>"]


def folded(summary: str, content: str) -> str:
    """Html that is shown on a click."""
    return f"<details><summary>{html.escape(summary)}</summary>{content}</details>"
