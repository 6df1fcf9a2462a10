#!/usr/bin/env python
"""Write the report of a run anew, also while it goes on or after it failed."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER_OF_A_RUN")
    folder = parser.parse_args().folder

    # After the arguments: it takes seconds, which --help does not have to wait for.
    from w2v2_mt.app.report.run_report import write_report

    try:
        print(write_report(folder).path)
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
