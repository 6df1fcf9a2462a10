"""Write the report of a sweep and print its table, also while its jobs run or after some failed."""

import sys
from pathlib import Path

from rich.console import Console

from w2v2_mt.app.report.sweep_report import printed, write_sweep_report


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python scripts/report_sweep.py FOLDER_OF_A_SWEEP", file=sys.stderr)
        return 1
    try:
        report = write_sweep_report(Path(arguments[0]))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    console = Console()
    if not console.is_terminal:
        console = Console(width=1000)  # Into a file, each job is one line.
    for table in report.tables:
        console.print(printed(table))
    console.print(f"Report: {report.path}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
