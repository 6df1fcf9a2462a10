"""The options that all data preparation shares, and the command line that sets them."""

import argparse
import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from w2v2_mt.data.preparation.audio import AudioFormat
from w2v2_mt.data.preparation.workers import default_num_workers


@dataclass(frozen=True, kw_only=True)
class Options:
    """See `add_arguments` for what each means."""

    data_folder: Path
    seed: int
    samples_per_shard: int
    audio_format: AudioFormat
    limit: int | None
    strict: bool
    max_rejected: float
    num_workers: int
    overwrite: bool
    delete_originals: bool

    def __post_init__(self) -> None:
        for name, minimum in (("samples_per_shard", 1), ("num_workers", 0), ("limit", 1)):
            value = getattr(self, name)
            if value is not None and value < minimum:
                raise ValueError(f"--{name} is {value}; it must be at least {minimum}.")
        if not 0 <= self.max_rejected <= 1:
            raise ValueError(f"--max_rejected is {self.max_rejected}; it must be from 0 to 1.")
        if self.delete_originals and self.limit is not None:
            raise ValueError(
                "--delete_originals would remove what --limit leaves out; leave out one of them."
            )

    def facts(self) -> dict[str, object]:
        """What decides the bytes of the result."""
        return {
            "seed": self.seed,
            "samples_per_shard": self.samples_per_shard,
            "audio_format": self.audio_format,
            "limit": self.limit,
            "strict": self.strict,
            "version": version("w2v2-mt"),
        }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command line of `Options`."""
    data_folder = os.environ.get("DATA_FOLDER")
    parser.add_argument(
        "--data_folder",
        type=Path,
        default=data_folder,
        required=data_folder is None,
        help="the folder of archives and shards (default: the environment variable DATA_FOLDER)",
    )
    parser.add_argument(
        "--seed", type=int, default=42133724, help="decides every order and split (%(default)s)"
    )
    parser.add_argument(
        "--samples_per_shard",
        type=int,
        default=1000,
        help="utterances in one shard, at most (%(default)s)",
    )
    parser.add_argument(
        "--audio_format",
        choices=get_args(AudioFormat),
        default="wav",
        help="of the utterances in the shards; flac takes half the disk and more time to read "
        "(%(default)s)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        help="prepare no more than so many utterances of each archive or list: a trial run",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="reject audio that is not 16 kHz mono (default: convert and count it)",
    )
    parser.add_argument(
        "--max_rejected",
        type=float,
        default=0.001,
        help="share of files that may be unfit for use before the run stops (%(default)s)",
    )
    parser.add_argument(
        "--num_workers",
        type=int,
        default=default_num_workers(),
        help="processes that decode and write; 0: none beside this one (%(default)s)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace shards made with other options"
    )
    parser.add_argument(
        "--delete_originals",
        action="store_true",
        help="remove the archives when their shards are complete and verified",
    )


def options_from(arguments: argparse.Namespace) -> Options:
    """Raises ValueError for an impossible value."""
    return Options(**{name: getattr(arguments, name) for name in Options.__dataclass_fields__})
