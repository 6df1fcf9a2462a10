"""Errors by speaker and by duration: tables and pictures of the files that a test left."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from w2v2_mt.app.report.page import Table
from w2v2_mt.app.report.pictures import SERIES, Picture, picture
from w2v2_mt.app.report.results import NO_VALUE
from w2v2_mt.tasks.error_groups import UNITS

Rows = Sequence[Mapping[str, str]]

_RATE_LABEL = "errors, % of the reference"
_BAR_WIDTHS = (0.8, 0.4)
_COLOURS = (SERIES[0][0], SERIES[1][0])
"""Of the bars of words, and of the narrower ones of characters in front of them."""


def speaker_tables(set_name: str, rows: Rows) -> list[Table]:
    """One of words and one of characters, with the speaker of the highest rate first."""
    return [
        _table(
            f"{unit.capitalize()} errors by speaker, {set_name}",
            label="speaker",
            labelled=[(row["speaker"], row) for row in _by_rate(rows, rate)],
            unit=unit,
            rate=rate,
        )
        for unit, rate in UNITS
    ]


def duration_tables(set_name: str, rows: Rows) -> list[Table]:
    """One of words and one of characters."""
    return [
        _table(
            f"{unit.capitalize()} errors by duration, {set_name}",
            label="duration, s",
            labelled=[(_span(row), row) for row in rows],
            unit=unit,
            rate=rate,
        )
        for unit, rate in UNITS
    ]


def speaker_picture(set_name: str, rows: Rows) -> Picture:
    """Two bars for each speaker, in the order of the word error rates."""

    def draw(axes: Axes) -> None:
        shown = [row for row in _by_rate(rows, "wer") if row["wer"]]
        for (unit, rate), width, colour in zip(UNITS, _BAR_WIDTHS, _COLOURS, strict=True):
            rates = [_per_cent(row, rate) for row in shown]
            axes.bar(range(1, len(shown) + 1), rates, width, color=colour, label=f"{unit}s")
        axes.set(xlabel=f"{len(shown)} speakers, from the highest WER", ylabel=_RATE_LABEL)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    title = f"Error rates by speaker, {set_name}"
    return picture(f"errors_by_speaker_{set_name}", title=title, draw=draw)


def duration_picture(set_name: str, rows: Rows) -> Picture:
    """Two bars for each span of durations, with the number of utterances above them."""

    def draw(axes: Axes) -> None:
        shown = [row for row in rows if row["wer"]]
        highest = [max(_per_cent(row, rate) for _, rate in UNITS) for row in shown]
        for (unit, rate), width, colour in zip(UNITS, _BAR_WIDTHS, _COLOURS, strict=True):
            axes.bar(
                [_span(row) for row in shown],
                [_per_cent(row, rate) for row in shown],
                width,
                color=colour,
                label=f"{unit}s",
            )
        for place, (row, height) in enumerate(zip(shown, highest, strict=True)):
            axes.annotate(
                row["num_utterances"],
                (place, height),
                xytext=(0, 2),
                textcoords="offset points",
                ha="center",
            )
        axes.set(
            xlabel="duration of the utterance, s; above: number of utterances", ylabel=_RATE_LABEL
        )
        axes.margins(y=0.2)
        axes.legend()

    title = f"Error rates by duration, {set_name}"
    return picture(f"errors_by_duration_{set_name}", title=title, draw=draw)


def _table(
    title: str,
    *,
    label: str,
    labelled: Sequence[tuple[str, Mapping[str, str]]],
    unit: str,
    rate: str,
) -> Table:
    kinds = ("substitutions", "deletions", "insertions")
    columns = ["num_utterances", f"num_{unit}s", *(f"{unit}_{kind}" for kind in kinds)]
    return Table(
        title=title,
        columns=(label, "utterances", f"{unit}s", *kinds, f"{rate.upper()}, %"),
        rows=[
            [
                name,
                *(row[column] for column in columns),
                f"{_per_cent(row, rate):.2f}" if row[rate] else NO_VALUE,
            ]
            for name, row in labelled
        ],
        num_word_columns=1,
    )


def _by_rate(rows: Rows, rate: str) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: float(row[rate] or 0), reverse=True)


def _per_cent(row: Mapping[str, str], rate: str) -> float:
    return 100 * float(row[rate])


def _span(row: Mapping[str, str]) -> str:
    start, end = (row[f"duration_{bound}_sec"] for bound in ("from", "to"))
    first, last = (f"{float(edge):g}" if edge else "" for edge in (start, end))
    return f"over {first}" if last in ("", "inf") else f"{first} to {last}"
