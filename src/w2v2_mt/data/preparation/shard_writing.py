"""Write one shard: read its utterances where they lie, check, encode, and re-read what is written.

A shard is decided by its task alone, so shards can be written in any order, by any number of
processes, and again after a run was stopped.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from w2v2_mt.core.units import SAMPLE_RATE_HZ
from w2v2_mt.data.preparation.audio import AudioFormat, DecodedAudio, decode_checked, encode
from w2v2_mt.data.preparation.ffmpeg import decode_with_ffmpeg
from w2v2_mt.data.preparation.rejections import Rejection
from w2v2_mt.data.preparation.stored_files import StoredFile
from w2v2_mt.data.preparation.workspace import write_atomically

FFMPEG_SUFFIX = ".m4a"
BATCH_SIZE = 64
"""Files that are in memory together; ffmpeg decodes so many in a few calls."""


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """What goes into a shard: where its audio lies, and the facts beside key, length and rate.

    `source` names the file to people, as `<archive>: <member>`.
    """

    key: str
    speaker_id: str
    source: str
    audio: StoredFile
    labels: Mapping[str, str | int | None]


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """Write the shard `path`, and `report`, by which it counts as finished."""

    path: Path
    report: Path
    utterances: Sequence[Utterance]
    audio_format: AudioFormat
    is_strict: bool
    scratch: Path


@dataclass(kw_only=True)
class ShardReport:
    """What became of the utterances of one shard; lists of those that are in it, in order."""

    keys: list[str] = field(default_factory=list)
    speaker_ids: list[str] = field(default_factory=list)
    num_frames: list[int] = field(default_factory=list)
    rejections: list[Rejection] = field(default_factory=list)
    num_converted: int = 0
    num_bytes_read: int = 0


def finished_report(task: ShardTask) -> ShardReport | None:
    """The report of a shard that is there already."""
    if not (task.path.is_file() and task.report.is_file()):
        return None
    facts = json.loads(task.report.read_text(encoding="utf-8"))
    rejections = [Rejection(**each) for each in facts.pop("rejections")]
    return ShardReport(**facts, rejections=rejections)


def write_shard(task: ShardTask) -> ShardReport:
    """Write a shard, verified, unless it is finished; utterances that are not fit are left out.

    Raises OSError where the result cannot be written.
    """
    if (finished := finished_report(task)) is not None:
        return finished
    report = ShardReport()
    unfinished = task.path.with_name(f".{task.path.name}.{os.getpid()}.part")
    try:
        digests = {}
        with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
            for name, content in _members(task, report):
                digests[name] = hashlib.sha256(content).digest()
                _add_file(tar, name, content)
        _verify(unfinished, digests)
        write_atomically(task.report, json.dumps(asdict(report)))
        os.replace(unfinished, task.path)
    finally:
        unfinished.unlink(missing_ok=True)
    return report


def _members(task: ShardTask, report: ShardReport) -> Iterator[tuple[str, bytes]]:
    """The files of the shard, in order; the report is filled on the way."""
    for utterance, audio in _decoded(task, report):
        facts = {
            "key": utterance.key,
            **utterance.labels,
            "num_frames": len(audio.samples),
            "sampling_rate": SAMPLE_RATE_HZ,
        }
        yield f"{utterance.key}.{task.audio_format}", encode(audio.samples, task.audio_format)
        yield f"{utterance.key}.json", json.dumps(facts).encode()
        report.keys.append(utterance.key)
        report.speaker_ids.append(utterance.speaker_id)
        report.num_frames.append(len(audio.samples))


def _decoded(task: ShardTask, report: ShardReport) -> Iterator[tuple[Utterance, DecodedAudio]]:
    utterances = iter(task.utterances)
    while batch := list(islice(utterances, BATCH_SIZE)):
        for utterance, answer in zip(batch, _decode_batch(batch, task, report), strict=True):
            if isinstance(answer, DecodedAudio) and answer.was_converted and task.is_strict:
                answer = ValueError("it is not 16 kHz mono, which --strict demands.")
            if isinstance(answer, DecodedAudio):
                report.num_converted += answer.was_converted
                yield utterance, answer
            else:
                report.rejections.append(Rejection(utterance.source, str(answer)))


def _decode_batch(
    batch: Sequence[Utterance], task: ShardTask, report: ShardReport
) -> list[DecodedAudio | ValueError]:
    """An answer for each utterance, in order."""
    answers: dict[int, DecodedAudio | ValueError] = {}
    for_ffmpeg: dict[int, bytes] = {}
    for index, content in enumerate(_contents(batch)):
        if isinstance(content, ValueError):
            answers[index] = content
            continue
        report.num_bytes_read += len(content)
        if batch[index].audio.name.lower().endswith(FFMPEG_SUFFIX):
            for_ffmpeg[index] = content
        else:
            try:
                answers[index] = decode_checked(content, source=batch[index].source)
            except ValueError as error:
                answers[index] = error
    if for_ffmpeg:
        decoded = decode_with_ffmpeg(
            list(for_ffmpeg.values()),
            sources=[batch[index].source for index in for_ffmpeg],
            scratch=task.scratch,
        )
        answers.update(zip(for_ffmpeg, decoded, strict=True))
    return [answers[index] for index in range(len(batch))]


def _contents(batch: Sequence[Utterance]) -> Iterator[bytes | ValueError]:
    """The files as they are stored."""
    with ExitStack() as stack:
        streams: dict[Path, BinaryIO] = {}
        for utterance in batch:
            container = utterance.audio.container
            if container not in streams:
                streams[container] = stack.enter_context(open(container, "rb"))
            try:
                yield utterance.audio.read(streams[container])
            except ValueError as error:
                yield error


def _add_file(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # owner, group and time stay zero: same seed, same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _verify(shard: Path, digests: Mapping[str, bytes]) -> None:
    """Raise OSError where the disk does not give back what was written."""
    found = {}
    with tarfile.open(shard) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            found[member.name] = hashlib.sha256(content.read()).digest()
    if found != digests:
        raise OSError(f"{shard} cannot be read back as it was written; check the disk.")
