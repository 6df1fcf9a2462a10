"""The command line of the synthetic corpus: `python -m w2v2_mt.data.synthetic --help`."""

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from w2v2_mt.data.preparation.command_line import run_command
from w2v2_mt.data.synthetic.corpus import write_synthetic_corpus
from w2v2_mt.data.synthetic.corpus_sizes import DEMO, CorpusSizes


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m w2v2_mt.data.synthetic",
        description="Make a corpus of computed voices that say a few words, in the official "
        "layouts of LibriSpeech and VoxCeleb1, so that everything can be tried without a download.",
    )
    parser.add_argument("folder", type=Path, help="the DATA_FOLDER to write to")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="decides every voice and word (%(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes (%(default)s, one for each processor)",
    )
    for size in fields(CorpusSizes):
        parser.add_argument(
            f"--{size.name}",
            type=int,
            default=getattr(DEMO, size.name),
            metavar="N",
            help=f"{size.name.replace('_', ' ').replace('num ', 'number of ')} (%(default)s)",
        )
    return run_command(_write, parser.parse_args(arguments))


def _write(options: argparse.Namespace) -> None:
    sizes = CorpusSizes(**{size.name: getattr(options, size.name) for size in fields(CorpusSizes)})
    paths = write_synthetic_corpus(
        options.folder, seed=options.seed, sizes=sizes, num_workers=options.workers
    )
    for path in paths:
        print(path)


if __name__ == "__main__":
    sys.exit(main())
