"""The options of the commands that prepare data."""

import os
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, BadParameter, Option

from w2v2_mt.settings.environment import find_data_folder

AudioFormat = Literal["wav", "flac"]
ValSplitMode = Literal["equal", "different"]
SUBSETS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)
MINI_SUBSETS = ("train-clean-5", "dev-clean-2")
"""The subsets of Mini LibriSpeech, parts of train-clean-100 and dev-clean."""

NUM_CORES = len(os.sched_getaffinity(0))
"""CPU cores that this process may use."""


def default_data_folder() -> Path:
    """Return the data folder of the project; raise BadParameter outside of a project."""
    folder = find_data_folder()
    if folder is None:
        raise BadParameter("--data_folder or the variable DATA_FOLDER must be given.")
    return folder


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options that all corpora share; a text next to a type is the help of `--<name>`."""

    data_folder: Annotated[
        Path,
        Option(
            "--data_folder",
            envvar="DATA_FOLDER",
            default_factory=default_data_folder,
            help="Folder of archives and shards (default: that in .env, or data in the project).",
            show_default=False,
        ),
    ]
    seed: Annotated[int, "Decides every order and split."] = 42133724
    samples_per_shard: Annotated[int, "Utterances in one shard, at most."] = 1000
    audio_format: Annotated[AudioFormat, "flac: half the disk, slower to read."] = "wav"
    limit: Annotated[int | None, "Prepare at most N utterances of each archive or list."] = None
    strict: Annotated[bool, "Reject audio that is not 16 kHz mono; else, convert it."] = False
    max_rejected: Annotated[float, "Share of files that may be unfit for use."] = 0.001
    num_workers: Annotated[int, "Processes that decode and write; 0: only this process."] = (
        NUM_CORES
    )
    overwrite: Annotated[bool, "Replace shards made with other options."] = False
    delete_originals: Annotated[bool, "Remove archives once their shards are verified."] = False

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

    def metadata(self) -> dict[str, object]:
        """Return what decides the bytes of the result."""
        names = ("seed", "samples_per_shard", "audio_format", "limit", "strict")
        return {name: getattr(self, name) for name in names} | {"version": version("w2v2-mt")}


def check_subset(name: str) -> str:
    """Return the name of a subset; raise BadParameter for any other name."""
    if name not in (*SUBSETS, *MINI_SUBSETS):
        raise BadParameter(f"{name!r} is not one of {', '.join((*SUBSETS, *MINI_SUBSETS))}.")
    return name


@dataclass(frozen=True, kw_only=True)
class LibriSpeechOptions(Options):
    """The options of LibriSpeech; `--subsets` takes the first subset, `more_subsets` the others."""

    subsets: Annotated[
        list[str] | None,
        Option(
            metavar="SUBSET...",
            parser=check_subset,
            help="Prepare these, all of which must exist (default: those that exist of "
            f"{', '.join((*SUBSETS, *MINI_SUBSETS))}).",
        ),
    ] = None
    more_subsets: Annotated[
        list[str] | None, Argument(metavar="SUBSET", parser=check_subset, hidden=True)
    ] = None

    @property
    def named_subsets(self) -> list[str]:
        """Return the subsets that the command line names."""
        return [*(self.subsets or ()), *(self.more_subsets or ())]


@dataclass(frozen=True, kw_only=True)
class VoxCelebOptions(Options):
    """The options of VoxCeleb1, and those that VoxCeleb2 shares."""

    val_split_mode: Annotated[
        ValSplitMode, "equal: on the training speakers; different: on others."
    ] = "equal"
    val_fraction: Annotated[float, "Share of files for validation, at least."] = 0.01
    num_val_trials: Annotated[int, "An even number of trials."] = 5000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.val_fraction < 1:
            raise ValueError(
                f"--val_fraction is {self.val_fraction}; it must be above 0 and below 1."
            )
        if self.num_val_trials < 2 or self.num_val_trials % 2:
            raise ValueError(
                f"--num_val_trials is {self.num_val_trials}; it must be an even number of at "
                "least 2, since half of the trials are of each kind."
            )

    def split_metadata(self) -> dict[str, object]:
        """Return what decides the split and the validation trials."""
        names = ("val_split_mode", "val_fraction", "num_val_trials")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class VoxCeleb2Options(VoxCelebOptions):
    """The options of VoxCeleb2."""

    num_val_trials: Annotated[int, "An even number of trials."] = 30_000
    with_test_part: Annotated[bool, "Train on the 118 speakers of vox2_test as well."] = False
