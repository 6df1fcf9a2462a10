"""A progress bar at the bottom of a terminal, with a line of text below it."""

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from w2v2_mt.core.terminal import visible


class TerminalBar:
    """A bar that is shown until `close`; what the console prints meanwhile appears above it.

    It has no thread, which could hold a lock while a DataLoader worker is forked.
    """

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def show(
        self, left: str, num_done: int, total: int | None, right: str, *, below: str = ""
    ) -> None:
        """Show the bar between two texts, and one below; it only moves if the total is None."""
        line = Table.grid(expand=True, padding=(0, 1))
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(visible(left), ProgressBar(total=total, completed=num_done), visible(right))
        self._live.update(Group(line, Text(visible(below))), refresh=True)

    def close(self) -> None:
        """Remove the bar."""
        self._live.stop()
