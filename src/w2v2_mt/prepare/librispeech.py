"""The LibriSpeech archives as shards."""

import time
from collections import Counter
from importlib import resources
from itertools import chain
from pathlib import Path

from rich.progress import Progress

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.rejections import REJECTED_FILE, RejectionAccount, write_rejections
from w2v2_mt.prepare.archives import archive_metadata, no_audio_error
from w2v2_mt.prepare.buckets import Buckets
from w2v2_mt.prepare.librispeech_trials import trials_path, write_reader_trials
from w2v2_mt.prepare.librispeech_utterances import join_utterances, key_of
from w2v2_mt.prepare.options import MINI_SUBSETS, SUBSETS, LibriSpeechOptions, Options
from w2v2_mt.prepare.progress import BYTES_PER_MB, print_passed_over, print_summary, stage_bars
from w2v2_mt.prepare.shard_sets import SetWriter, ShardSet, check_readable, place, write_metadata
from w2v2_mt.prepare.statistics import write_statistics
from w2v2_mt.prepare.work_folder import produce


def prepare_librispeech(options: LibriSpeechOptions) -> None:
    """Write the shards of LibriSpeech to `<data_folder>/librispeech_shards`."""
    start = time.monotonic()
    archive_folder = options.data_folder / "librispeech"
    shard_folder = options.data_folder / "librispeech_shards"
    subsets = (*SUBSETS, *MINI_SUBSETS)
    folders = {subset: shard_folder / subset.replace("-", "_") for subset in subsets}
    named = options.named_subsets
    archives = {subset: archive_folder / f"{subset}.tar.gz" for subset in named or subsets}
    found = [subset for subset in archives if archives[subset].is_file()]
    download = "run scripts/download/download_librispeech.sh or"
    if not found:
        names = ", ".join(archive.name for archive in archives.values())
        raise ValueError(
            f"{archive_folder} holds none of the archives {names}; {download} set DATA_FOLDER."
        )
    missing = [each for each in archives if each not in found and not folders[each].is_dir()]
    if not named:  # The small subsets are parts of the others.
        missing = [each for each in missing if each in SUBSETS]
    if missing and named:
        raise ValueError(
            f"{archive_folder} does not hold {missing[0]}.tar.gz; {download} leave it out of "
            "--subsets."
        )
    with stage_bars() as bars, Workers(options.num_workers) as workers:
        written = {
            each: _prepare_subset(
                archives[each], folders[each], options=options, workers=workers, bars=bars
            )
            for each in found
        }
    vocabulary = resources.files("w2v2_mt.data") / "vocabulary.json"
    (shard_folder / "vocabulary.json").write_bytes(vocabulary.read_bytes())
    prepared = {folder.name: folder for folder in folders.values() if folder.is_dir()}
    write_statistics(shard_folder / "statistics.html", title="LibriSpeech", sets=prepared)
    present = [subset for subset, shards in written.items() if shards is None]
    if options.delete_originals:
        for subset in present:
            check_readable(folders[subset])
        # Last, so that a run that is stopped here can be given again.
        for subset in found:
            archives[subset].unlink()
    if new := [shards for shards in written.values() if shards is not None]:
        print_summary("LibriSpeech", new, duration_sec=time.monotonic() - start)
    if present:
        print(f"They exist already, made with these options: {', '.join(present)}.")
    if missing:
        print(f"Not prepared, because the archive is missing: {', '.join(missing)}.")


def _prepare_subset(
    archive: Path, folder: Path, *, options: Options, workers: Workers, bars: Progress
) -> ShardSet | None:
    """Write the shards of an archive to `folder`; return None if they exist already."""
    name, subset = folder.name, archive.name.removesuffix(".tar.gz")
    is_training = name.startswith("train")

    def fill(work: Path) -> ShardSet:
        buckets = Buckets(work / "buckets")
        num_mb = archive.stat().st_size / BYTES_PER_MB
        bar = bars.add_task(f"{name}: read", total=num_mb, unit="MB")
        buckets.fill(
            archive,
            place_of=lambda member: place(key_of(archive, member, subset), seed=options.seed),
            on_position=lambda position: bars.update(bar, completed=position / BYTES_PER_MB),
            limit=options.limit,
        )
        print_passed_over(name, buckets.passed_over())
        spoken, rejections = join_utterances(buckets, archive, subset, options)
        account = RejectionAccount(
            num_files=len(spoken) + len(rejections), max_share=options.max_rejected, folder=work
        )
        account.add(rejections)
        if not spoken:
            if not rejections:
                raise no_audio_error(archive, AUDIO_SUFFIXES)
            account.refuse("no utterance is left")

        def remove_read_buckets(num_written: int) -> None:
            if num_written < len(spoken):
                buckets.remove_before(place(spoken[num_written].key, seed=options.seed))

        writer = SetWriter(work, options, workers, account, bars)
        shards = writer.write(
            name,
            spoken,
            num_utterances=len(spoken),
            folder=work / name,
            shard_name=f"{name}-shard-%06d.tar",
            left_out=rejections,
            on_shard=remove_read_buckets,
        )
        write_rejections(work / name / REJECTED_FILE, account.rejections)
        kept = set(shards.keys)
        texts = (each.labels["transcription"] for each in spoken if each.key in kept)
        counts = Counter(chain.from_iterable(texts))
        metadata: dict[str, object] = {"letter_counts": dict(sorted(counts.items()))}
        if is_training:
            metadata["speakers"] = sorted({key.split("/")[0] for key in kept})
        write_metadata(work / name, shards, options=options, further_metadata=metadata)
        if not is_training:
            write_reader_trials(work / name, archive, seed=options.seed)
        return shards

    written = produce(
        [folder],
        work=folder.with_name(f".{name}.partial"),
        record={"archives": archive_metadata([archive]), **options.metadata()},
        overwrite=options.overwrite,
        fill=fill,
    )
    if written is None and not is_training and not trials_path(folder).exists():
        # The set was written by a version without trials.
        write_reader_trials(folder, archive, seed=options.seed)
    return written
