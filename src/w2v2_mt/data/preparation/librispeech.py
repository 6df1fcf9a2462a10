"""The LibriSpeech archives as shards: `python -m w2v2_mt.data.preparation.librispeech --help`."""

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path, PurePosixPath

from rich.console import Console

from w2v2_mt.data.preparation.command_line import (
    StageBars,
    archive_facts,
    run_command,
    summary_table,
)
from w2v2_mt.data.preparation.options import Options, add_arguments, options_from
from w2v2_mt.data.preparation.rejections import (
    REJECTED_FILE,
    Rejection,
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
from w2v2_mt.data.preparation.shard_writing import Utterance
from w2v2_mt.data.preparation.statistics import write_statistics
from w2v2_mt.data.preparation.stored_files import Piece
from w2v2_mt.data.preparation.transcripts import parse_transcripts
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
AUDIO_SUFFIX = ".flac"
TRANSCRIPT_SUFFIX = ".trans.txt"


@dataclass(frozen=True, slots=True, order=True)
class _Spoken:
    """An utterance of the archive whose words are known."""

    place: int
    reader_id: str
    chapter_id: str
    utterance_id: str
    transcription: str
    audio: Piece

    @property
    def key(self) -> str:
        return f"{self.reader_id}/{self.chapter_id}/{self.utterance_id}"

    def described(self, archive: Path) -> Utterance:
        return Utterance(
            key=self.key,
            speaker_id=self.reader_id,
            source=f"{archive.name}: {self.audio.name}",
            audio=self.audio,
            labels={
                "reader_id": self.reader_id,
                "chapter_id": self.chapter_id,
                "utterance_id": self.utterance_id,
                "transcription": self.transcription,
            },
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
                place_of=lambda member: place(_key(archive, member, subset), seed=options.seed),
                on_position=bar.set,
                is_enough=_Enough(options.limit),
            )
        spoken, rejections = _spoken(buckets, archive, subset=subset, options=options)
        account = RejectionAccount(
            num_files=len(spoken) + len(rejections), max_share=options.max_rejected, folder=work
        )
        account.add(rejections)

        def remove_read_buckets(num_written: int) -> None:
            if num_written < len(spoken):
                buckets.remove_before(spoken[num_written].audio)

        with bars.stage(f"{subset}: write", total=len(spoken), unit="files") as bar:
            written = write_shard_set(
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
        write_rejections(work / name / REJECTED_FILE, account.rejections)
        write_facts(
            work / name,
            written,
            options=options,
            further_facts={
                "num_rejected": len(account.rejections),
                "letter_counts": _letter_counts(spoken, kept=set(written.keys)),
            },
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


class _Enough:
    """True when so many audio files have been seen and the chapter of the last one is over."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.num_audio = 0
        self.last_folder: str | None = None

    def __call__(self, name: str) -> bool:
        if self.limit is None:
            return False
        folder = str(PurePosixPath(name).parent)
        is_over = self.num_audio >= self.limit and folder != self.last_folder
        self.num_audio += name.endswith(AUDIO_SUFFIX)
        self.last_folder = folder
        return is_over


def _spoken(
    buckets: Buckets, archive: Path, *, subset: str, options: Options
) -> tuple[list[_Spoken], list[Rejection]]:
    """Audio and words brought together, in the order of the shards, and what has no counterpart."""
    audio: dict[str, Piece] = {}
    transcriptions: dict[str, str] = {}
    errors: dict[str, str] = {}
    rejections: list[Rejection] = []
    for file in buckets.files():
        key = _key(archive, file.name, subset)
        if file.text is not None:
            found, wrong = parse_transcripts(file.text, chapter=key.rpartition("/")[0])
            transcriptions |= found
            errors |= wrong
        elif file.audio is not None and key not in audio:
            audio[key] = file.audio
        else:
            reason = f"its key {key} is that of an earlier file."
            rejections.append(Rejection(f"{archive.name}: {file.name}", reason))
    spoken = []
    for key, piece in audio.items():
        transcription = transcriptions.pop(key, None)
        if transcription is None:
            reason = errors.pop(key, "there is no transcription for it.")
            rejections.append(Rejection(f"{archive.name}: {piece.name}", reason))
        else:
            reader_id, chapter_id, utterance_id = key.split("/")
            key_place = place(key, seed=options.seed)
            spoken.append(
                _Spoken(key_place, reader_id, chapter_id, utterance_id, transcription, piece)
            )
    if options.limit is not None:
        # The reading has ended within a chapter, where what has no counterpart is no fault.
        return sorted(spoken[: options.limit]), []
    errors |= dict.fromkeys(transcriptions, "there is no audio for this transcription.")
    rejections += [Rejection(f"{archive.name}: {key}", reason) for key, reason in errors.items()]
    return sorted(spoken), rejections


def _letter_counts(spoken: Iterable[_Spoken], *, kept: Collection[str]) -> dict[str, int]:
    """How often each character stands in the transcriptions of what is kept, by character."""
    counts: Counter[str] = Counter()
    for each in spoken:
        if each.key in kept:
            counts.update(each.transcription)
    return dict(sorted(counts.items()))


def _key(archive: Path, name: str, subset: str) -> str:
    """`<reader>/<chapter>/<utterance>`, the last of them empty for a transcript."""
    parts = PurePosixPath(name).parts
    if len(parts) >= 4 and parts[-4] == subset:
        reader_id, chapter_id = parts[-3:-1]
        stem = parts[-1].partition(".")[0]
        if name.endswith(TRANSCRIPT_SUFFIX):
            chapter_name, utterance_id = stem, ""
        else:
            chapter_name, _, utterance_id = stem.rpartition("-")
        if chapter_name == f"{reader_id}-{chapter_id}":
            return f"{reader_id}/{chapter_id}/{utterance_id}"
    raise ValueError(
        f"{archive} holds {name}; every audio file must be "
        f"LibriSpeech/{subset}/<reader>/<chapter>/<reader>-<chapter>-<utterance>.flac, with its "
        "transcript beside it, so use the official archive."
    )


if __name__ == "__main__":
    sys.exit(main())
