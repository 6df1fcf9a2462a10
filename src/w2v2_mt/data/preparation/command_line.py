"""The command line that all data preparation shares: arguments, progress, errors, last table."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from w2v2_mt.data.preparation.shard_writing import ShardSetSummary


def add_common_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the data lies, the seed, and the size of a shard."""
    data_folder = os.environ.get("DATA_FOLDER")
    parser.add_argument(
        "--data_folder",
        type=Path,
        default=data_folder,
        required=data_folder is None,
        help="the folder of archives and shards (default: the environment variable DATA_FOLDER)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=42133724,
        help="decides every order and split (%(default)s)",
    )
    parser.add_argument(
        "--samples_per_shard",
        type=int,
        default=1000,
        help="utterances in one shard, at most (%(default)s)",
    )


def run_command(command: Callable[[argparse.Namespace], None], options: argparse.Namespace) -> int:
    """Run a command and return its exit code: bad input is one sentence on stderr, and code 1."""
    try:
        command(options)
    except (ValueError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def progress_bar(*, unit: Literal["bytes", "utterances"]) -> Progress:
    """A progress bar on stderr."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn() if unit == "bytes" else MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )


def summary_table(title: str, summaries: Sequence[ShardSetSummary]) -> Table:
    """One row for each set of shards."""
    table = Table("split", title=title)
    for heading in ("utterances", "speakers", "hours", "shards"):
        table.add_column(heading, justify="right")
    for summary in summaries:
        table.add_row(
            summary.name,
            str(summary.num_utterances),
            str(summary.num_speakers),
            f"{summary.hours:.2f}",
            str(summary.num_shards),
        )
    return table
