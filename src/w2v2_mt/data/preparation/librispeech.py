"""The LibriSpeech archives as shards: `python -m w2v2_mt.data.preparation.librispeech --help`."""

import argparse
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

from rich.console import Console

from w2v2_mt.data.preparation.command_line import (
    StageBars,
    archive_facts,
    run_command,
    summary_table,
)
from w2v2_mt.data.preparation.librispeech_utterances import (
    AUDIO_SUFFIX,
    TRANSCRIPT_SUFFIX,
    Enough,
    key_of,
    letter_counts,
    spoken_utterances,
)
from w2v2_mt.data.preparation.options import Options, add_arguments, options_from
from w2v2_mt.data.preparation.rejections import (
    REJECTED_FILE,
    RejectionAccount,
    write_rejections,
)
from w2v2_mt.data.preparation.scattering import Buckets
from w2v2_mt.data.preparation.shard_sets import (
    ShardSet,
    check_readable,
    place,
    read_statistics,
    write_facts,
    write_shard_set,
)
from w2v2_mt.data.preparation.statistics import write_statistics
from w2v2_mt.data.preparation.workers import Workers
from w2v2_mt.data.preparation.workspace import produce

SUBSETS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)


def prepare_subset(
    archive: Path,
    *,
    subset: str,
    folder: Path,
    options: Options,
    workers: Workers,
    bars: StageBars,
) -> ShardSet | None:
    """Write one archive's shards to `folder`; None where they are there already."""
    name = subset.replace("-", "_")
    result: list[ShardSet] = []

    def fill(work: Path) -> None:
        buckets = Buckets(work / "buckets")
        with bars.stage(f"{subset}: read", total=archive.stat().st_size, unit="bytes") as bar:
            buckets.fill(
                archive,
                audio_suffix=AUDIO_SUFFIX,
                text_suffix=TRANSCRIPT_SUFFIX,
                place_of=lambda member: place(key_of(archive, member, subset), seed=options.seed),
                on_position=bar.set,
                is_enough=Enough(options.limit),
            )
        spoken, rejections = spoken_utterances(
            buckets, archive, subset=subset, seed=options.seed, limit=options.limit
        )
        account = RejectionAccount(
            num_files=len(spoken) + len(rejections), max_share=options.max_rejected, folder=work
        )
        account.add(rejections)
        if rejections and not spoken:
            account.refuse("no utterance is left")

        def remove_read_buckets(num_written: int) -> None:
            if num_written < len(spoken):
                buckets.remove_before(spoken[num_written].audio)

        with bars.stage(f"{subset}: write", total=len(spoken), unit="files") as bar:
            shards = write_shard_set(
                name,
                spoken,
                describe=lambda each: each.described(archive),
                work=work,
                folder=work / name,
                shard_name=f"{name}-shard-%06d.tar",
                options=options,
                workers=workers,
                account=account,
                on_progress=bar.advance,
                on_shard=remove_read_buckets,
            )
        written = replace(shards, left_out=rejections)
        write_rejections(work / name / REJECTED_FILE, account.rejections)
        write_facts(
            work / name,
            written,
            options=options,
            further_facts={"letter_counts": letter_counts(spoken, kept=set(written.keys))},
        )
        result.append(written)

    produce(
        [folder],
        work=folder.with_name(f".{name}.partial"),
        record={"archives": archive_facts([archive]), **options.facts()},
        overwrite=options.overwrite,
        fill=fill,
    )
    return result[0] if result else None


def found_archives(folder: Path, *, subsets: Sequence[str]) -> dict[str, Path]:
    """Subset -> archive, for those that exist. Raises ValueError when none does."""
    archives = {subset: folder / f"{subset}.tar.gz" for subset in subsets}
    found = {subset: archive for subset, archive in archives.items() if archive.is_file()}
    if not found:
        names = ", ".join(archive.name for archive in archives.values())
        raise ValueError(
            f"{folder} holds none of the archives {names}; run "
            "scripts/download/download_librispeech.sh or set DATA_FOLDER."
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="Turn the LibriSpeech archives in <data_folder>/librispeech into shards in "
        "<data_folder>/librispeech_shards."
    )
    add_arguments(parser)
    parser.add_argument(
        "--subsets",
        nargs="+",
        choices=SUBSETS,
        metavar="SUBSET",
        help="prepare these, all of which must exist (default: those that exist of "
        f"{', '.join(SUBSETS)})",
    )
    return run_command(_prepare, parser.parse_args(arguments))


def _prepare(arguments: argparse.Namespace) -> None:
    options = options_from(arguments)
    archive_folder = options.data_folder / "librispeech"
    shard_folder = options.data_folder / "librispeech_shards"
    wanted: Sequence[str] = arguments.subsets or SUBSETS
    archives = found_archives(archive_folder, subsets=wanted)
    missing = [
        subset
        for subset in wanted
        if subset not in archives and not _folder(shard_folder, subset).is_dir()
    ]
    if missing and arguments.subsets:
        raise ValueError(
            f"{archive_folder} does not hold {missing[0]}.tar.gz; run "
            "scripts/download/download_librispeech.sh or leave it out of --subsets."
        )
    start = time.monotonic()
    written: list[ShardSet] = []
    present: list[str] = []
    with StageBars() as bars, Workers(options.num_workers) as workers:
        for subset, archive in archives.items():
            shards = prepare_subset(
                archive,
                subset=subset,
                folder=_folder(shard_folder, subset),
                options=options,
                workers=workers,
                bars=bars,
            )
            if shards is None:
                present.append(subset)
            else:
                written.append(shards)
    vocabulary = resources.files("w2v2_mt.data") / "vocabulary.json"
    with resources.as_file(vocabulary) as path:
        shutil.copyfile(path, shard_folder / "vocabulary.json")
    prepared = [subset for subset in SUBSETS if _folder(shard_folder, subset).is_dir()]
    write_statistics(
        shard_folder / "statistics.html",
        title="LibriSpeech",
        sets=[
            read_statistics(_folder(shard_folder, subset), name=_folder(shard_folder, subset).name)
            for subset in prepared
        ],
    )
    if options.delete_originals:
        for subset in present:
            check_readable(_folder(shard_folder, subset))
        # Last, so that a run that is stopped here can be given again.
        for archive in archives.values():
            archive.unlink()
    if written:
        Console().print(
            summary_table("LibriSpeech", written, duration_sec=time.monotonic() - start)
        )
    if present:
        print(f"There already, made with these options: {', '.join(present)}.")
    if missing:
        print(f"Not prepared, because the archive is missing: {', '.join(missing)}.")


def _folder(shard_folder: Path, subset: str) -> Path:
    return shard_folder / subset.replace("-", "_")


if __name__ == "__main__":
    sys.exit(main())
