"""Draw what is in a corpus as one page that opens from disk."""

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2v2_mt.data.preparation.workspace import write_atomically

NUM_BINS = 40
WIDTH, HEIGHT = 430, 280
AXES = (60, 420, 34, 230)
"""Left, right, top and bottom of the part of a picture that holds the bars."""

SECONDS_PER_HOUR = 3600

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { text-align: right; padding: .25rem .75rem; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; }
svg { max-width: 100%; height: auto; }
svg text { font-size: 12px; fill: currentColor; text-anchor: middle; }
svg text.start { text-anchor: start; }
svg text.end { text-anchor: end; }
.bars { fill: #3b78b4; }
.axis { stroke: currentColor; }
.grid { stroke: #8884; }
@media (prefers-color-scheme: dark) {
  body { color: #e6e6e6; background: #181818; }
  th, td { border-color: #444; }
}
"""


@dataclass(frozen=True, kw_only=True)
class SetStatistics:
    """A set of utterances: the duration of each in seconds, and how many each speaker has."""

    name: str
    durations_sec: np.ndarray
    utterances_per_speaker: np.ndarray


def write_statistics(path: Path, *, title: str, sets: Sequence[SetStatistics]) -> None:
    """Write a table of all sets and two histograms of each; the same sets make the same bytes."""
    columns = ("set", "utterances", "speakers", "hours", "shortest", "median", "longest")
    headings = "".join(f"<th>{column}</th>" for column in columns)
    parts = [
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
        "<meta name='viewport' content='width=device-width, initial-scale=1'>",
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{html.escape(title)}</h1>",
        f"<table><tr>{headings}</tr>{''.join(map(_row, sets))}</table>",
    ]
    for each in sets:
        parts.append(f"<h2>{html.escape(each.name)}</h2>")
        for values, label in (
            (each.durations_sec, "duration in seconds"),
            (each.utterances_per_speaker, "utterances of a speaker"),
        ):
            of_what = "utterances" if values is each.durations_sec else "speakers"
            parts.append(f"<figure>{_histogram(values, label=label, of_what=of_what)}</figure>")
    write_atomically(path, "\n".join([*parts, "</body></html>\n"]))


def _row(each: SetStatistics) -> str:
    durations_sec = each.durations_sec
    cells = [each.name, str(len(durations_sec)), str(len(each.utterances_per_speaker))]
    cells.append(f"{durations_sec.sum() / SECONDS_PER_HOUR:.2f}")
    if len(durations_sec):
        extremes = (durations_sec.min(), np.median(durations_sec), durations_sec.max())
        cells += [f"{value:.2f} s" for value in extremes]
    else:
        cells += ["no utterances", "", ""]
    return "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _histogram(values: np.ndarray, *, label: str, of_what: str) -> str:
    """An svg picture."""
    histogram = np.histogram(values, bins=NUM_BINS)
    counts, edges = (numbers.astype(float).tolist() for numbers in histogram)
    highest = max(1.0, *counts)
    left, right, top, bottom = AXES
    first, last = edges[0], edges[-1]

    def x(value: float) -> float:
        return left + (value - first) / (last - first) * (right - left)

    def y(count: float) -> float:
        return bottom - count / highest * (bottom - top)

    parts = [f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img'>"]
    for tick in round_ticks(0, highest):
        height = f"{y(tick):.1f}"
        parts.append(f"<path class='grid' d='M{left} {height}H{right}'/>")
        parts.append(f"<text x='{left - 6}' y='{height}' dy='4' class='end'>{tick:,.6g}</text>")
    steps = "".join(
        f"V{y(count):.1f}H{x(edge):.1f}" for count, edge in zip(counts, edges[1:], strict=True)
    )
    parts.append(f"<path class='bars' d='M{left} {bottom}{steps}V{bottom}Z'/>")
    parts.append(f"<path class='axis' d='M{left} {bottom}H{right}'/>")
    for tick in round_ticks(first, last):
        parts.append(f"<text x='{x(tick):.1f}' y='{bottom + 18}'>{tick:,.6g}</text>")
    middle = (left + right) / 2
    parts.append(f"<text x='{middle}' y='{HEIGHT - 6}'>{html.escape(label)}</text>")
    parts.append(f"<text x='{left}' y='{top - 12}' class='start'>number of {of_what}</text>")
    return "".join([*parts, "</svg>"])


def round_ticks(low: float, high: float) -> list[float]:
    """Round numbers, about five of them, from `low` to `high`."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [step * index for index in range(math.ceil(low / step), math.floor(high / step) + 1)]
