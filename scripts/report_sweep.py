#!/usr/bin/env python
"""Write the report of a sweep and print its table, also while its jobs run or after some failed."""

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER_OF_A_SWEEP")
    folder = parser.parse_args().folder

    # After the arguments: it takes seconds, which --help does not have to wait for.
    from w2v2_mt.app.report.sweep_report import print_sweep_report, write_sweep_report

    try:
        print_sweep_report(write_sweep_report(folder))
    except ValueError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
