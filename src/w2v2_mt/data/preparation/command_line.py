"""What a person sees of a preparation: bars on the way, errors as sentences, a table at the end."""

import argparse
import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from w2v2_mt.core.exit_codes import INTERRUPTED
from w2v2_mt.data.preparation.shard_sets import ShardSet

BYTES_PER_MB = 1_000_000


def run_command(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run a command and return its exit code: bad input is one sentence on stderr, and code 1."""
    try:
        command(options)
    except (ValueError, OSError) as error:
        print(f"Error: {_sentence(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped; the same command goes on from here.", file=sys.stderr)
        return INTERRUPTED
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk is full ({error}); free some space and run the same command again, which "
            "goes on from here."
        )
    if isinstance(error, PermissionError):
        return (
            f"access to {error.filename} is denied ({error.strerror}); change its permissions, or "
            "set DATA_FOLDER to a folder of your own."
        )
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return (
            f"{error.filename} cannot be written ({error.strerror}); set DATA_FOLDER to a folder "
            "on a disk that can be."
        )
    return str(error)


def archive_facts(archives: Sequence[Path]) -> list[dict[str, object]]:
    """What tells an archive from another one of the same name."""
    return [
        {"name": path.name, "num_bytes": path.stat().st_size, "mtime_ns": path.stat().st_mtime_ns}
        for path in archives
    ]


class Bar:
    """The bar of one stage."""

    def __init__(self, progress: Progress, description: str, *, total: int, unit: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=total, unit=unit)

    def set(self, completed: int) -> None:
        self._progress.update(self._task, completed=completed)

    def advance(self, num_files: int) -> None:
        self._progress.advance(self._task, num_files)


class StageBars:
    """A bar for each stage, on stderr, with its rate and the time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            _AmountColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> "StageBars":
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @contextmanager
    def stage(
        self, description: str, *, total: int, unit: Literal["bytes", "files"]
    ) -> Iterator[Bar]:
        """A bar of `total` steps."""
        yield Bar(self._progress, description, total=total, unit=unit)


class _AmountColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        done, total, rate = task.completed, task.total or 0, task.finished_speed or task.speed or 0
        if task.fields["unit"] == "bytes":
            done, total, rate = (value / BYTES_PER_MB for value in (done, total, rate))
            return Text(f"{done:.1f}/{total:.1f} MB {rate:.1f} MB/s")
        return Text(f"{done:.0f}/{total:.0f} files {rate:.0f} files/s")


def summary_table(title: str, sets: Sequence[ShardSet], *, duration_sec: float) -> Table:
    """One row for each set of shards."""
    num_megabytes = sum(each.num_bytes_read for each in sets) / BYTES_PER_MB
    rate = f"{num_megabytes:.0f} MB of audio files, {num_megabytes / duration_sec:.1f} MB/s"
    table = Table(title=title, caption=rate, show_edge=False, pad_edge=False)
    table.add_column("split", no_wrap=True)
    for heading in ("utterances", "speakers", "hours", "shards", "rejected", "converted"):
        table.add_column(heading, justify="right")
    for each in sets:
        facts = each.facts()
        table.add_row(
            each.name,
            *(str(facts[count]) for count in ("num_utterances", "num_speakers")),
            f"{each.hours:.2f}",
            *(str(facts[count]) for count in ("num_shards", "num_rejected", "num_converted")),
        )
    return table
