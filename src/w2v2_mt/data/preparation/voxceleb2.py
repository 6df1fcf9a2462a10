"""The VoxCeleb2 archives as shards, with the three tests over VoxCeleb1:
`python -m w2v2_mt.data.preparation.voxceleb2 --help`."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path

from w2v2_mt.data.preparation import voxceleb1
from w2v2_mt.data.preparation.command_line import StageBars, run_command
from w2v2_mt.data.preparation.ffmpeg import check_ffmpeg
from w2v2_mt.data.preparation.meta import read_sexes
from w2v2_mt.data.preparation.options import add_arguments, options_from
from w2v2_mt.data.preparation.shard_sets import ShardSet, check_readable, write_facts
from w2v2_mt.data.preparation.shard_writing import FFMPEG_SUFFIX, ShardReport
from w2v2_mt.data.preparation.split_options import add_split_arguments, split_options_from
from w2v2_mt.data.preparation.splits import check_no_leakage
from w2v2_mt.data.preparation.stored_names import StoredNames
from w2v2_mt.data.preparation.trial_lists import read_trial_list
from w2v2_mt.data.preparation.trials import write_trials
from w2v2_mt.data.preparation.utterance_names import UtteranceName
from w2v2_mt.data.preparation.voxceleb import (
    SetWriter,
    account_of,
    chosen_speakers,
    finish,
    print_num_trials,
    print_result,
    record_of,
    split_of,
    write_train_and_val,
)
from w2v2_mt.data.preparation.workers import Workers
from w2v2_mt.data.preparation.workspace import produce

SPEAKER_FILE = "vox2_meta.csv"
MAIN, ALL, HARD = "vox2_shards", "vox2_shards_all", "vox2_shards_hard"
TESTS = {MAIN: voxceleb1.TEST_TRIALS, ALL: "list_test_all2.txt", HARD: "list_test_hard2.txt"}
"""Folder -> the list of its trials: the original, extended and hard test."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Turn the VoxCeleb2 archives in <data_folder>/voxceleb_archives into shards "
        f"for training and validation in <data_folder>/{MAIN}, and those of VoxCeleb1 into the "
        f"original, extended and hard test in {MAIN}/test, {ALL}/test and {HARD}/test. Each "
        "VoxCeleb2 archive is vox2_<part>_wav.zip where that exists, and vox2_<part>_aac.zip "
        "otherwise, which needs ffmpeg."
    )
    add_arguments(parser)
    add_split_arguments(parser, num_val_trials=30_000)
    parser.add_argument(
        "--with_test_part",
        action="store_true",
        help="train on the 118 speakers of vox2_test as well (default: the 5,994 of vox2_dev)",
    )
    return run_command(_prepare, parser.parse_args(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    options = options_from(arguments)
    split_options = split_options_from(arguments)
    meta_folder = options.data_folder / "voxceleb_meta"
    archive_folder = options.data_folder / "voxceleb_archives"
    parts = ("dev", "test") if arguments.with_test_part else ("dev",)
    train_archives = [_archive_of(archive_folder, part) for part in parts]
    test_archives = [archive_folder / name for name in voxceleb1.ARCHIVES]
    lists = {folder: meta_folder / name for folder, name in TESTS.items()}
    targets = [options.data_folder / name for name in (ALL, HARD, MAIN)]
    if any(_suffix(archive) == FFMPEG_SUFFIX for archive in train_archives):
        check_ffmpeg()
    start = time.monotonic()
    written: list[ShardSet] = []

    def fill(work: Path) -> None:
        sexes = read_sexes(meta_folder / SPEAKER_FILE)
        tests = {
            folder: read_trial_list(path, limit=options.limit) for folder, path in lists.items()
        }
        stored = StoredNames()
        for archive in train_archives:
            stored.add_archive(archive, suffix=_suffix(archive))
        names = chosen_speakers(stored.members, options=options)
        for archive in test_archives:
            stored.add_archive(archive, suffix=voxceleb1.SUFFIX)
        for test in tests.values():
            test.check_stored(stored.members)
        split = split_of(names, sexes=sexes, split_options=split_options, seed=options.seed)
        check_no_leakage(
            split,
            tests={test.path.name: test.listed for test in tests.values()},
            val_split_mode=split_options.val_split_mode,
        )
        tested = {folder: test.utterances for folder, test in tests.items()}
        wanted = [*split.train, *split.val, *set[UtteranceName]().union(*tested.values())]
        with StageBars() as bars, Workers(options.num_workers) as workers:
            writer = SetWriter(
                work=work,
                stored=stored,
                speaker_indices={name: index for index, name in enumerate(split.train_speakers)},
                options=options,
                bars=bars,
                workers=workers,
                account=account_of(wanted, stored=stored, options=options, work=work),
                written=written,
            )
            write_train_and_val(
                writer, split, folder=work / MAIN, sexes=sexes, split_options=split_options
            )
            _write_tests(writer, tested, work=work)
        kept = [key for each in written for key in each.keys]
        for folder, test in tests.items():
            test.check_kept(kept)
            write_trials(work / folder / "test" / "test_trials.txt", test.trials)
            print_num_trials(f"{folder}/test", len(test.trials), wanted=len(test.trials))
        sets = {
            "train": work / MAIN / "train",
            "val": work / MAIN / "val",
            **{f"test ({folder})": work / folder / "test" for folder in TESTS},
        }
        finish("VoxCeleb2", work / MAIN, writer, sets=sets)

    is_new = produce(
        targets,
        work=options.data_folder / f".{MAIN}.partial",
        record=record_of(
            [*train_archives, *test_archives, meta_folder / SPEAKER_FILE, *lists.values()],
            options,
            {**asdict(split_options), "with_test_part": arguments.with_test_part},
        ),
        overwrite=options.overwrite,
        fill=fill,
    )
    print_result("VoxCeleb2", written, start=start, folder=targets[-1])
    if options.delete_originals:
        if not is_new:
            for name in ("train", "val"):
                check_readable(options.data_folder / MAIN / name)
        for archive in train_archives:
            archive.unlink()


def _archive_of(folder: Path, part: str) -> Path:
    converted = folder / f"vox2_{part}_wav.zip"
    return converted if converted.is_file() else folder / f"vox2_{part}_aac.zip"


def _suffix(archive: Path) -> str:
    return voxceleb1.SUFFIX if archive.name.endswith("_wav.zip") else FFMPEG_SUFFIX


def _write_tests(writer: SetWriter, tests: Mapping[str, set[UtteranceName]], *, work: Path) -> None:
    """Write each utterance once: the shards of those that several tests name lie in the folder of
    the first of these tests, and the folders of the others link there."""
    groups: dict[tuple[str, ...], list[UtteranceName]] = {}
    utterances = sorted(set[UtteranceName]().union(*tests.values()))
    for utterance in utterances:
        sharing = tuple(folder for folder in TESTS if utterance in tests[folder])
        groups.setdefault(sharing, []).append(utterance)
    tested: dict[str, dict[str, ShardReport]] = {folder: {} for folder in TESTS}
    everything: dict[str, ShardReport] = {}
    for number, sharing in enumerate(sorted(groups), start=1):
        part = writer.write(
            f"test, part {number} of {len(groups)}",
            groups[sharing],
            folder=work / sharing[0] / "test",
            first_index=len(everything),
        )
        everything |= part.reports
        for folder in sharing:
            tested[folder] |= part.reports
        for folder, shard in product(sharing[1:], part.reports):
            link = work / folder / "test" / shard
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(Path("..", "..", sharing[0], "test", shard))
    for folder, reports in tested.items():
        shards = ShardSet("test", reports, writer.stored.duplicates_of(tests[folder]))
        write_facts(work / folder / "test", shards, options=writer.options, further_facts={})
    writer.written.append(ShardSet("test", everything, writer.stored.duplicates_of(utterances)))


if __name__ == "__main__":
    sys.exit(main())
