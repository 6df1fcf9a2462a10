"""The VoxCeleb1 archives as shards: `python -m w2v2_mt.data.preparation.voxceleb1 --help`."""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from w2v2_mt.core.keys import speaker_of
from w2v2_mt.data.preparation.command_line import StageBars, run_command
from w2v2_mt.data.preparation.meta import read_sexes
from w2v2_mt.data.preparation.options import options_from
from w2v2_mt.data.preparation.shard_sets import ShardSet, check_readable
from w2v2_mt.data.preparation.splits import check_no_leakage
from w2v2_mt.data.preparation.trials import write_trials
from w2v2_mt.data.preparation.voxceleb import (
    META_PRODUCER,
    SetWriter,
    StoredNames,
    account_of,
    check_trials_kept,
    chosen_speakers,
    chosen_trials,
    finish,
    names_of_trials,
    parser_of,
    print_num_trials,
    print_result,
    record_of,
    split_of,
    split_options_from,
    write_train_and_val,
)
from w2v2_mt.data.preparation.workers import Workers
from w2v2_mt.data.preparation.workspace import produce
from w2v2_mt.data.trials import keys_of_trials, read_trials

ARCHIVES = ("vox1_dev_wav.zip", "vox1_test_wav.zip")
SUFFIX = ".wav"
META_FILE = "vox1_meta.csv"
TEST_TRIALS = "veri_test2.txt"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = parser_of(
        "Turn the VoxCeleb1 archives in <data_folder>/voxceleb_archives into shards and trials in "
        "<data_folder>/vox1_shards.",
        num_val_trials=5000,
    )
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
        all_trials = read_trials(meta_folder / TEST_TRIALS, producer=META_PRODUCER)
        test_trials = chosen_trials(all_trials, limit=options.limit)
        stored = StoredNames()
        for archive in archives:
            stored.add_archive(archive, suffix=SUFFIX)
        test = names_of_trials(test_trials, stored=stored.members, source=meta_folder / TEST_TRIALS)
        # Speakers of the test neither train nor validate, whichever archive they lie in, and also
        # where a limit leaves out their trials.
        test_speakers = {speaker_of(key) for key in keys_of_trials(all_trials)}
        names = [name for name in stored.members if name.speaker_id not in test_speakers]
        split = split_of(
            chosen_speakers(names, options=options),
            sexes=sexes,
            split_options=split_options,
            seed=options.seed,
        )
        check_no_leakage(split, tests={"test": test}, val_split_mode=split_options.val_split_mode)
        with StageBars() as bars, Workers(options.num_workers) as workers:
            writer = SetWriter(
                work=work,
                stored=stored,
                speaker_indices={name: index for index, name in enumerate(split.train_speakers)},
                options=options,
                bars=bars,
                workers=workers,
                account=account_of(stored, options=options, work=work),
                written=written,
            )
            write_train_and_val(
                writer, split, folder=folder, sexes=sexes, split_options=split_options
            )
            kept = writer.write("test", test, folder=folder / "test")
            writer.finish(folder / "test", kept)
        check_trials_kept(test_trials, kept=kept.keys, source=meta_folder / TEST_TRIALS)
        write_trials(folder / "test" / "test_trials.txt", test_trials)
        print_num_trials("test", len(test_trials), wanted=len(test_trials))
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
