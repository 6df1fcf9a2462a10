"""The progress of a preparation on stderr, and the table of its results."""

from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count, seconds_from_samples
from w2v2_mt.prepare.shard_sets import ShardSet

BYTES_PER_MB = 1_000_000
COLUMNS = ("utterances", "speakers", "hours", "shards", "rejected", "converted")


class AmountColumn(ProgressColumn):
    """A column with the progress and the rate of a stage in its field `unit`, MB or files."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        unit, rate = task.fields["unit"], task.finished_speed or task.speed or 0
        digits = 1 if unit == "MB" else 0
        done = f"{task.completed:.{digits}f}/{task.total:.{digits}f}"
        return Text(f"{done} {unit} {rate:.{digits}f} {unit}/s")


def stage_bars() -> Progress:
    """Return a bar for each stage, on stderr, with its rate and the time left."""
    columns = (TextColumn("{task.description}"), BarColumn(), AmountColumn())
    return Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True, markup=False, emoji=False)
    )


def print_passed_over(name: str, files: Sequence[str]) -> None:
    """Print how many files of archives do not count by their names, if any."""
    if files:
        num = count(len(files), "file")
        print_visible(f"Passed over in {name}: {num}, by their names; the first is {files[0]}.")


def print_summary(title: str, sets: Sequence[ShardSet], *, duration_sec: float) -> None:
    """Print a table with a row for each set of shards; its numbers need 80 characters."""
    num_bytes = sum(report.num_bytes_read for each in sets for report in each.reports)
    num_mb = num_bytes / BYTES_PER_MB
    rate = f"{num_mb:.0f} MB of audio files, {num_mb / duration_sec:.1f} MB/s"
    # No lines between the columns: a name and the numbers of a large corpus fill 80 characters.
    table = Table(title=title, caption=rate, box=None, pad_edge=False)
    table.add_column("split", no_wrap=True)
    for heading in COLUMNS:
        table.add_column(heading, justify="right", no_wrap=True)
    for each in sets:
        metadata = each.metadata()
        metadata["num_hours"] = f"{seconds_from_samples(metadata['num_frames']) / 3600:.2f}"
        table.add_row(each.name, *(str(metadata[f"num_{name}"]) for name in COLUMNS))
    console = Console(markup=False, emoji=False)
    console.width = max(80, console.width)
    console.print(table)
