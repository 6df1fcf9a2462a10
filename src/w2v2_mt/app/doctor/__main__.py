"""The command: `python -m w2v2_mt.app.doctor`."""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from w2v2_mt.app.doctor import programs, settings, shards
from w2v2_mt.app.doctor.finding import Finding, is_fatal, lines_of
from w2v2_mt.app.environment import load_environment

_NUM_COLUMNS = 100
"""Where the output is no terminal."""


def findings() -> Iterator[Finding]:
    """All checks, in the order in which a new user meets what they check."""
    yield programs.python()
    yield programs.packages()
    yield settings.env_file()
    yield from settings.folders(os.environ)
    yield settings.shared_memory()
    yield programs.gpus()
    yield programs.ffmpeg()
    yield programs.curl()
    yield from shards.shards(Path(os.environ["DATA_FOLDER"]))
    yield from settings.pretrained_weights(os.environ)
    yield settings.wandb_login(os.environ)
    yield from programs.slurm()


def main() -> int:
    argparse.ArgumentParser(
        prog="python -m w2v2_mt.app.doctor",
        description="What this machine has and lacks, for which commands, and the command that "
        "closes each gap. Nothing is changed or downloaded. The exit code is 1 where no command "
        "runs at all.",
    ).parse_args()
    load_environment()
    found = list(findings())
    print("\n".join(lines_of(found, shutil.get_terminal_size((_NUM_COLUMNS, 24)).columns)))
    return int(any(map(is_fatal, found)))


if __name__ == "__main__":
    sys.exit(main())
