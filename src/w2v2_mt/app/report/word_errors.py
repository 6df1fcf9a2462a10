"""Word errors by speaker and by duration: tables and pictures of the files that a test left."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from w2v2_mt.app.report.page import Table
from w2v2_mt.app.report.pictures import SERIES, Picture, picture

Rows = Sequence[Mapping[str, str]]

_COUNTS = (
    ("utterances", "num_utterances"),
    ("words", "num_words"),
    ("substitutions", "substitutions"),
    ("deletions", "deletions"),
    ("insertions", "insertions"),
)


def speaker_table(set_name: str, rows: Rows) -> Table:
    """Those with the highest rate first."""
    return Table(
        title=f"Word errors by speaker, {set_name}",
        columns=("speaker", *(heading for heading, _ in _COUNTS), "WER, %"),
        rows=[[row["speaker"], *_counts(row), _rate(row)] for row in _by_rate(rows)],
        num_word_columns=1,
    )


def duration_table(set_name: str, rows: Rows) -> Table:
    return Table(
        title=f"Word errors by duration, {set_name}",
        columns=("duration, s", *(heading for heading, _ in _COUNTS), "WER, %"),
        rows=[[_span(row), *_counts(row), _rate(row)] for row in rows],
        num_word_columns=1,
    )


def speaker_picture(set_name: str, rows: Rows) -> Picture:
    """A bar for each speaker, in the order of their rates."""

    def draw(axes: Axes) -> None:
        rates = [_per_cent(row) for row in _by_rate(rows) if row["wer"]]
        axes.bar(
            range(1, len(rates) + 1),
            rates,
            color=SERIES[0][0],
            label=f"each of {len(rates)} speakers",
        )
        axes.set(xlabel="speakers, from the highest rate", ylabel="WER, % of reference words")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend()

    title = f"Word error rate by speaker, {set_name}"
    return picture(f"wer_by_speaker_{set_name}", title=title, draw=draw)


def duration_picture(set_name: str, rows: Rows) -> Picture:
    """A bar for each span of durations, with the number of utterances above it."""

    def draw(axes: Axes) -> None:
        shown = [row for row in rows if row["wer"]]
        bars = axes.bar(
            [_span(row) for row in shown],
            [_per_cent(row) for row in shown],
            color=SERIES[2][0],
            label="with the number of utterances",
        )
        axes.bar_label(bars, [row["num_utterances"] for row in shown], padding=2)
        axes.set(xlabel="duration of the utterance, s", ylabel="WER, % of reference words")
        axes.margins(y=0.2)
        axes.legend()

    title = f"Word error rate by duration, {set_name}"
    return picture(f"wer_by_duration_{set_name}", title=title, draw=draw)


def _by_rate(rows: Rows) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: float(row["wer"] or 0), reverse=True)


def _counts(row: Mapping[str, str]) -> list[str]:
    return [row[column] for _, column in _COUNTS]


def _per_cent(row: Mapping[str, str]) -> float:
    return 100 * float(row["wer"])


def _rate(row: Mapping[str, str]) -> str:
    return f"{_per_cent(row):.2f}" if row["wer"] else "-"


def _span(row: Mapping[str, str]) -> str:
    start, end = (row[f"duration_{bound}_sec"] for bound in ("from", "to"))
    first, last = (f"{float(edge):g}" if edge else "" for edge in (start, end))
    return f"over {first}" if last in ("", "inf") else f"{first} to {last}"
