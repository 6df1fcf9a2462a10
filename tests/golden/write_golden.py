"""Write golden files anew: `python -m tests.golden.write_golden settings runs`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.golden.old_runs import write_old_runs
from tests.golden.runs import write_results
from tests.golden.settings import write_golden_settings


def main(names: list[str]) -> None:
    """Write the golden files of these names."""
    if "settings" in names:
        write_golden_settings()
    for name, write in (("runs", write_results), ("old_runs", write_old_runs)):
        if name in names:
            with TemporaryDirectory() as folder:
                write(Path(folder))


if __name__ == "__main__":
    main(sys.argv[1:])
