"""How validation is split off VoxCeleb: the options, and the command line that sets them."""

import argparse
from dataclasses import dataclass
from typing import get_args

from w2v2_mt.data.preparation.splits import ValSplitMode, check_val_fraction
from w2v2_mt.data.preparation.trials import check_num_trials


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """See `add_split_arguments` for what each means. Raises ValueError for an impossible value."""

    val_split_mode: ValSplitMode
    val_fraction: float
    num_val_trials: int

    def __post_init__(self) -> None:
        check_val_fraction(self.val_fraction)
        check_num_trials(self.num_val_trials)


def add_split_arguments(parser: argparse.ArgumentParser, *, num_val_trials: int) -> None:
    """The command line of `SplitOptions`."""
    parser.add_argument(
        "--val_split_mode",
        choices=get_args(ValSplitMode),
        default="equal",
        help="validate on the training speakers, in other videos, or on others (%(default)s)",
    )
    parser.add_argument(
        "--val_fraction",
        type=float,
        default=0.01,
        help="share of the training files that validates (%(default)s; more where a small corpus "
        "would have no trials)",
    )
    parser.add_argument(
        "--num_val_trials",
        type=int,
        default=num_val_trials,
        help="trials for validation, an even number (%(default)s)",
    )


def split_options_from(arguments: argparse.Namespace) -> SplitOptions:
    """Raises ValueError for an impossible value."""
    return SplitOptions(
        val_split_mode=arguments.val_split_mode,
        val_fraction=arguments.val_fraction,
        num_val_trials=arguments.num_val_trials,
    )
