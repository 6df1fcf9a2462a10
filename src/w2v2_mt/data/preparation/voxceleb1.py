"""The VoxCeleb1 archives as shards: `python -m w2v2_mt.data.preparation.voxceleb1 --help`."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from w2v2_mt.data.preparation.command_line import StageBars, run_command
from w2v2_mt.data.preparation.meta import read_sexes
from w2v2_mt.data.preparation.options import add_arguments, options_from
from w2v2_mt.data.preparation.shard_sets import ShardSet, check_readable
from w2v2_mt.data.preparation.split_options import add_split_arguments, split_options_from
from w2v2_mt.data.preparation.splits import check_no_leakage
from w2v2_mt.data.preparation.stored_names import StoredNames
from w2v2_mt.data.preparation.trial_lists import read_trial_list
from w2v2_mt.data.preparation.trials import write_trials
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

ARCHIVES = ("vox1_dev_wav.zip", "vox1_test_wav.zip")
SUFFIX = ".wav"
META_FILE = "vox1_meta.csv"
TEST_TRIALS = "veri_test2.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Turn the VoxCeleb1 archives in <data_folder>/voxceleb_archives into shards "
        "and trials in <data_folder>/vox1_shards."
    )
    add_arguments(parser)
    add_split_arguments(parser, num_val_trials=5000)
    return run_command(_prepare, parser.parse_args(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    options = options_from(arguments)
    split_options = split_options_from(arguments)
    meta_folder = options.data_folder / "voxceleb_meta"
    archives = [options.data_folder / "voxceleb_archives" / name for name in ARCHIVES]
    lists = [meta_folder / META_FILE, meta_folder / TEST_TRIALS]
    target = options.data_folder / "vox1_shards"
    start = time.monotonic()
    written: list[ShardSet] = []

    def fill(work: Path) -> None:
        folder = work / target.name
        sexes = read_sexes(meta_folder / META_FILE)
        test = read_trial_list(meta_folder / TEST_TRIALS, limit=options.limit)
        stored = StoredNames()
        dev_archive, test_archive = archives
        stored.add_archive(dev_archive, suffix=SUFFIX)
        names = chosen_speakers(stored.members, options=options)
        stored.add_archive(test_archive, suffix=SUFFIX)
        test.check_stored(stored.members)
        split = split_of(names, sexes=sexes, split_options=split_options, seed=options.seed)
        check_no_leakage(
            split,
            tests={TEST_TRIALS: test.listed},
            val_split_mode=split_options.val_split_mode,
        )
        wanted = [*split.train, *split.val, *test.utterances]
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
                writer, split, folder=folder, sexes=sexes, split_options=split_options
            )
            kept = writer.write("test", test.utterances, folder=folder / "test")
            writer.finish(folder / "test", kept)
        test.check_kept(kept.keys)
        write_trials(folder / "test" / "test_trials.txt", test.trials)
        print_num_trials("test", len(test.trials), wanted=len(test.trials))
        sets = {name: folder / name for name in ("train", "val", "test")}
        finish("VoxCeleb1", folder, writer, sets=sets)

    is_new = produce(
        [target],
        work=target.with_name(f".{target.name}.partial"),
        record=record_of([*archives, *lists], options, asdict(split_options)),
        overwrite=options.overwrite,
        fill=fill,
    )
    print_result("VoxCeleb1", written, start=start, folder=target)
    if options.delete_originals:
        if not is_new:
            for name in ("train", "val", "test"):
                check_readable(target / name)
        for archive in archives:
            archive.unlink()


if __name__ == "__main__":
    sys.exit(main())
