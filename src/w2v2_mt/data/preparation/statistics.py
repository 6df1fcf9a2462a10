"""Draw what is in a corpus as one page that opens from disk."""

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from w2v2_mt.data.preparation.workspace import write_atomically

NUM_BINS = 40
SECONDS_PER_HOUR = 3600

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff; }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto; }
th, td { text-align: right; padding: .25rem .75rem; border-bottom: 1px solid #ccc; }
th:first-child, td:first-child { text-align: left; }
figure { display: inline-block; margin: 0 1rem 1rem 0; padding: .5rem; background: #fff; }
svg { max-width: 100%; height: auto; }
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
    import matplotlib  # takes a second to import, which workers and --help need not wait for
    from matplotlib.figure import Figure

    counts, edges = np.histogram(values, bins=NUM_BINS)
    figure = Figure(figsize=(4.3, 2.8), layout="constrained")
    axes = figure.subplots()
    axes.stairs(counts, edges, fill=True)
    axes.set(xlabel=label, ylabel=f"number of {of_what}")
    axes.grid(alpha=0.3)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "w2v2-mt"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    picture = buffer.getvalue()
    return picture[picture.index("<svg") :]
