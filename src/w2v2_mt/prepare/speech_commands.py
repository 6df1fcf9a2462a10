"""Speech Commands as shards: words of many speakers, and recordings of noise."""

import time
from pathlib import Path

from w2v2_mt.core.atomic_output import atomic_replacement
from w2v2_mt.core.terminal import print_visible
from w2v2_mt.core.units import count
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.rejections import RejectionAccount
from w2v2_mt.prepare.archives import StoredFile, archive_metadata
from w2v2_mt.prepare.buckets import Buckets
from w2v2_mt.prepare.corpus_plan import plan_corpus
from w2v2_mt.prepare.corpus_sets import write_corpus
from w2v2_mt.prepare.corpus_splits import SETS
from w2v2_mt.prepare.progress import BYTES_PER_MB, print_passed_over, print_summary, stage_bars
from w2v2_mt.prepare.shard_sets import SetWriter, ShardSet, check_readable, place
from w2v2_mt.prepare.speech_commands_archive import read_speech_commands
from w2v2_mt.prepare.speech_commands_options import SpeechCommandsOptions
from w2v2_mt.prepare.work_folder import produce

NAME, TITLE = "speech_commands", "Speech Commands"
ARCHIVES = ("speech_commands_v0.02.tar.gz", "mini_speech_commands.zip")
NOISE_FOLDER = "noise"
"""The folder of the recordings of background noise, next to the sets."""


def prepare_speech_commands(options: SpeechCommandsOptions) -> None:
    """Write the shards of an archive to `<data_folder>/speech_commands_shards`."""
    start = time.monotonic()
    archive = _find_archive(options)
    folder = options.data_folder / f"{NAME}_shards"
    written = produce(
        [folder],
        work=folder.with_name(f".{folder.name}.partial"),
        record={
            "archives": archive_metadata([archive]),
            **options.metadata(),
            **options.corpus_options().corpus_metadata(),
        },
        overwrite=options.overwrite,
        fill=lambda work: _write_corpus(archive, work, work / folder.name, options),
    )
    if written is None:
        print_visible(f"{folder} exists already, made with these options.")
    else:
        print_summary(TITLE, written, duration_sec=time.monotonic() - start)
    if options.delete_originals:
        if written is None:
            for name in SETS:
                check_readable(folder / name)
        archive.unlink()


def _find_archive(options: SpeechCommandsOptions) -> Path:
    if options.archive is not None:
        if not options.archive.is_file():
            raise ValueError(f"--archive ({options.archive}) must exist. Correct the path.")
        return options.archive
    folder = options.data_folder / NAME
    found = [folder / name for name in ARCHIVES if (folder / name).is_file()]
    if not found:
        raise ValueError(
            f"{folder} has neither {' nor '.join(ARCHIVES)}; run "
            "scripts/download/download_speech_commands.sh or pass --archive."
        )
    if len(found) > 1:
        raise ValueError(f"{folder} has two archives, {' and '.join(ARCHIVES)}; pass --archive.")
    return found[0]


def _write_corpus(
    archive: Path, work: Path, folder: Path, options: SpeechCommandsOptions
) -> list[ShardSet]:
    with stage_bars() as bars, Workers(options.num_workers) as workers:
        bar = bars.add_task("read", total=archive.stat().st_size / BYTES_PER_MB, unit="MB")
        content = read_speech_commands(
            archive,
            buckets=Buckets(work / "buckets"),
            place_of=lambda member: place(member, seed=options.seed),
            on_position=lambda position: bars.update(bar, completed=position / BYTES_PER_MB),
        )
        print_passed_over(TITLE, content.passed_over)
        plan = plan_corpus(
            NAME,
            content.recordings,
            rejections=content.rejections,
            options=options.corpus_options(),
        )
        num_files = len(content.recordings) + len(content.rejections)
        account = RejectionAccount(num_files=num_files, max_share=options.max_rejected, folder=work)
        written = write_corpus(
            plan,
            folder,
            title=TITLE,
            writer=SetWriter(work, options, workers, account, bars),
            audio_of=lambda recording: content.audio[recording.path],
        )
    for name, noise in content.noises.items():
        _copy(noise, folder / NOISE_FOLDER / name)
    if content.noises:
        print(f"{NOISE_FOLDER}: {count(len(content.noises), 'recording')}.")
    return written


def _copy(file: StoredFile, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    with file.container.open("rb") as stream, atomic_replacement(path) as unfinished:
        unfinished.write_bytes(file.read(stream))
