"""Write the report of a run anew, also while it goes on or after it failed."""

import sys
from pathlib import Path

from w2v2_mt.app.report.run_report import write_report


def main(arguments: list[str]) -> int:
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("Usage: python scripts/report_run.py FOLDER_OF_A_RUN", file=sys.stderr)
        return 1
    try:
        print(write_report(Path(arguments[0])).path)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
