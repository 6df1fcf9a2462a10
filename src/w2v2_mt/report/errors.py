"""Tables and pictures of the errors by speaker and by duration that a test wrote."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from w2v2_mt.core.units import count
from w2v2_mt.report.page import Table
from w2v2_mt.report.pictures import SERIES, Picture, draw_picture
from w2v2_mt.report.results import NO_VALUE
from w2v2_mt.runs.run_folder import RunFolder, unreadable
from w2v2_mt.tasks.transcripts import UNITS

Rows = Sequence[Mapping[str, str]]

_RATE_LABEL = "errors, % of the reference"
_BAR_WIDTHS = (0.8, 0.4)
"""Widths of the bars of words, and of the narrower bars of characters in front of them."""


def error_report(run: RunFolder) -> tuple[list[Table], list[Picture]]:
    """Return tables and pictures of each set, by duration and by speaker.

    Speakers are in the order of falling error rates.
    """
    tables, pictures = [], []
    for group, draw in (("duration", _draw_durations), ("speaker", _draw_speakers)):
        for set_name, rows in run.table(f"errors_by_{group}_").items():
            name, title = f"errors_by_{group}_{set_name}", f"Error rates by {group}, {set_name}"
            try:
                for unit, rate in UNITS:
                    heading = f"{unit.capitalize()} errors by {group}, {set_name}"
                    ordered = rows if group == "duration" else _sort_by_rate(rows, rate)
                    tables.append(_table(heading, ordered, group=group, unit=unit, rate=rate))
                pictures.append(draw_picture(name, title, partial(draw, rows)))
            except (KeyError, ValueError) as error:
                problem = f"is not a table of errors ({error!r})"
                raise unreadable(run.path / f"{name}.tsv", problem) from error
    return tables, pictures


def _table(title: str, rows: Rows, *, group: str, unit: str, rate: str) -> Table:
    kinds = ("substitutions", "deletions", "insertions")
    counts = ("num_utterances", f"num_{unit}s", *(f"{unit}_{kind}" for kind in kinds))
    label = "duration, s" if group == "duration" else group
    return Table(
        title=title,
        columns=(label, "utterances", f"{unit}s", *kinds, f"{rate.upper()}, %"),
        rows=[
            [
                _span(row) if group == "duration" else row[group],
                *(row[count] for count in counts),
                f"{100 * float(row[rate]):.2f}" if row[rate] else NO_VALUE,
            ]
            for row in rows
        ],
    )


def _draw_speakers(rows: Rows, axes: Axes) -> None:
    shown = [row for row in _sort_by_rate(rows, "wer") if row["wer"]]
    _draw_bars(axes, range(1, len(shown) + 1), shown)
    axes.set(xlabel=f"{count(len(shown), 'speaker')}, from the highest WER", ylabel=_RATE_LABEL)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()


def _draw_durations(rows: Rows, axes: Axes) -> None:
    """Draw bars with the number of utterances above them."""
    shown = [row for row in rows if row["wer"]]
    _draw_bars(axes, [_span(row) for row in shown], shown)
    for place, row in enumerate(shown):
        highest = max(100 * float(row[rate]) for _, rate in UNITS)
        style: dict[str, Any] = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
        axes.annotate(row["num_utterances"], (place, highest), **style)
    axes.set(xlabel="duration of the utterance, s; above: number of utterances", ylabel=_RATE_LABEL)
    axes.margins(y=0.2)
    axes.legend()


def _draw_bars(axes: Axes, places: Sequence[int] | Sequence[str], rows: Rows) -> None:
    for (unit, rate), width, (color, _) in zip(UNITS, _BAR_WIDTHS, SERIES, strict=False):
        rates = [100 * float(row[rate]) for row in rows]
        axes.bar(places, rates, width, color=color, label=f"{unit}s")


def _sort_by_rate(rows: Rows, rate: str) -> Rows:
    return sorted(rows, key=lambda row: float(row[rate] or 0), reverse=True)


def _span(row: Mapping[str, str]) -> str:
    start, end = (row[f"duration_{bound}_sec"] for bound in ("from", "to"))
    first, last = (f"{float(edge):g}" if edge else "" for edge in (start, end))
    return f"over {first}" if last in ("", "inf") else f"{first} to {last}"
