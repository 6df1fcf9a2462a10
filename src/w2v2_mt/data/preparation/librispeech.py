"""The LibriSpeech archives as shards: `python -m w2v2_mt.data.preparation.librispeech --help`."""

import argparse
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import resources
from pathlib import Path, PurePosixPath

from rich.console import Console
from rich.progress import Progress, TaskID

from w2v2_mt.data.preparation.archives import tar_gz_members
from w2v2_mt.data.preparation.audio import decode_checked, encode_wav
from w2v2_mt.data.preparation.command_line import (
    add_common_arguments,
    progress_bar,
    run_command,
    summary_table,
)
from w2v2_mt.data.preparation.output_folder import replaced_folder
from w2v2_mt.data.preparation.shard_writing import (
    ShardSetSummary,
    ShuffledShards,
    Utterance,
    write_meta,
)
from w2v2_mt.data.preparation.transcripts import parse_transcripts

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


@dataclass(frozen=True)
class _Chapter:
    """What has been read of a chapter and not been used yet, by the name of the utterance."""

    transcriptions: dict[str, str] = field(default_factory=dict)
    audio: dict[str, bytes] = field(default_factory=dict)


def archive_utterances(
    archive: Path, *, subset: str, on_position: Callable[[int], object]
) -> Iterator[Utterance]:
    """Yield each utterance of an archive as soon as its audio and its transcription are known.

    A chapter's transcript may stand before or behind its audio. Raises ValueError, naming the
    archive and the file, for whatever must not reach a shard.
    """
    chapters: dict[tuple[str, str], _Chapter] = {}
    members = tar_gz_members(
        archive, suffixes=(AUDIO_SUFFIX, TRANSCRIPT_SUFFIX), on_position=on_position
    )
    for name, content in members:
        reader_id, chapter_id = _reader_and_chapter(archive, name, subset=subset)
        chapter = chapters.setdefault((reader_id, chapter_id), _Chapter())
        if name.endswith(TRANSCRIPT_SUFFIX):
            chapter.transcriptions.update(parse_transcripts(content, source=f"{archive}: {name}"))
            matched = [name for name in chapter.audio if _stem(name) in chapter.transcriptions]
        else:
            chapter.audio[name] = content
            matched = [name] if _stem(name) in chapter.transcriptions else []
        for audio_name in matched:
            yield _utterance(
                source=f"{archive}: {audio_name}",
                reader_id=reader_id,
                chapter_id=chapter_id,
                utterance_id=_stem(audio_name).rpartition("-")[-1],
                content=chapter.audio.pop(audio_name),
                transcription=chapter.transcriptions.pop(_stem(audio_name)),
            )
    for chapter in chapters.values():
        for name in chapter.audio:
            raise ValueError(f"{archive} has no transcription for {name}; get the archive again.")
        for utterance in chapter.transcriptions:
            raise ValueError(f"{archive} has no audio for {utterance}; get the archive again.")


def prepare_subset(
    archive: Path,
    *,
    subset: str,
    folder: Path,
    samples_per_shard: int,
    seed: int,
    on_position: Callable[[int], object],
) -> ShardSetSummary:
    """Write one archive's shards and `meta.json` to `folder`, in place of what was there."""
    name = subset.replace("-", "_")
    with replaced_folder(folder) as new_folder:
        shards = ShuffledShards(
            name=name,
            folder=new_folder,
            shard_name=f"{name}-shard-%06d.tar",
            samples_per_shard=samples_per_shard,
            seed=seed,
        )
        for utterance in archive_utterances(archive, subset=subset, on_position=on_position):
            shards.add(utterance)
        summary = shards.finish()
        write_meta(new_folder, summary, further_facts={})
    return summary


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
    add_common_arguments(parser)
    parser.add_argument(
        "--subsets",
        nargs="+",
        choices=SUBSETS,
        metavar="SUBSET",
        help="prepare these, all of which must exist (default: those that exist of "
        f"{', '.join(SUBSETS)})",
    )
    return run_command(_prepare, parser.parse_args(arguments))


def _prepare(options: argparse.Namespace) -> None:
    archive_folder: Path = options.data_folder / "librispeech"
    shard_folder: Path = options.data_folder / "librispeech_shards"
    archives = found_archives(archive_folder, subsets=options.subsets or SUBSETS)
    missing = [subset for subset in options.subsets or SUBSETS if subset not in archives]
    if missing and options.subsets:
        raise ValueError(
            f"{archive_folder} does not hold {missing[0]}.tar.gz; run "
            "scripts/download/download_librispeech.sh or leave it out of --subsets."
        )
    summaries = []
    with progress_bar(unit="bytes") as progress:
        for subset, archive in archives.items():
            task = progress.add_task(subset, total=archive.stat().st_size)
            summaries.append(
                prepare_subset(
                    archive,
                    subset=subset,
                    folder=shard_folder / subset.replace("-", "_"),
                    samples_per_shard=options.samples_per_shard,
                    seed=options.seed,
                    on_position=partial(_show_position, progress, task),
                )
            )
    vocabulary = resources.files("w2v2_mt.data") / "vocabulary.json"
    with resources.as_file(vocabulary) as path:
        shutil.copyfile(path, shard_folder / "vocabulary.json")
    Console().print(summary_table("LibriSpeech", summaries))
    if missing:
        print(f"Not prepared, because the archive is missing: {', '.join(missing)}.")


def _show_position(progress: Progress, task: TaskID, position: int) -> None:
    progress.update(task, completed=position)


def _reader_and_chapter(archive: Path, name: str, *, subset: str) -> tuple[str, str]:
    parts = PurePosixPath(name).parts
    if len(parts) >= 4 and parts[-4] == subset:
        reader_id, chapter_id = parts[-3:-1]
        is_transcript = name.endswith(TRANSCRIPT_SUFFIX)
        chapter_name = _stem(name) if is_transcript else _stem(name).rpartition("-")[0]
        if chapter_name == f"{reader_id}-{chapter_id}":
            return reader_id, chapter_id
    raise ValueError(
        f"{archive} holds {name}; every audio file must be "
        f"LibriSpeech/{subset}/<reader>/<chapter>/<reader>-<chapter>-<utterance>.flac, with its "
        "transcript beside it, so use the official archive."
    )


def _stem(name: str) -> str:
    return PurePosixPath(name).name.partition(".")[0]


def _utterance(
    *,
    source: str,
    reader_id: str,
    chapter_id: str,
    utterance_id: str,
    content: bytes,
    transcription: str,
) -> Utterance:
    samples = decode_checked(content, source=source)
    return Utterance(
        key=f"{reader_id}/{chapter_id}/{utterance_id}",
        speaker_id=reader_id,
        num_frames=len(samples),
        wav=encode_wav(samples),
        labels={
            "reader_id": reader_id,
            "chapter_id": chapter_id,
            "utterance_id": utterance_id,
            "transcription": transcription,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
