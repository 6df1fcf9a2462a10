"""Write one shard: read its utterances where they lie, check, encode, and re-read what is written.

A shard is decided by its task alone, so shards can be written in any order, by any number of
processes, and again after a run was stopped.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from w2v2_mt.core.atomic_output import atomic_replacement, replace_text
from w2v2_mt.core.shard_index import (
    IndexedUtterance,
    StoredFile,
    place_of,
    read_file,
    write_index,
)
from w2v2_mt.core.speakers import labelled_speaker
from w2v2_mt.core.units import MIN_UTTERANCE_SAMPLES, SAMPLE_RATE_HZ, count
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.audio import encode
from w2v2_mt.prepare.audio_sources import AudioSource, OpenFiles
from w2v2_mt.prepare.options import AudioFormat
from w2v2_mt.prepare.work_folder import at_work


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """An utterance to be written: the place of its audio, and its labels.

    `source` names the file to people, as `<archive>: <member>`.
    """

    key: str
    source: str
    audio: AudioSource
    labels: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ShardTask:
    """A shard to be written to `path`, and the report that marks it as finished."""

    path: Path
    report: Path
    utterances: Sequence[Utterance]
    audio_format: AudioFormat
    is_strict: bool
    work: Path


@dataclass
class ShardReport:
    """The written utterances of one shard, and the rejected ones, in order.

    Args:
        shard: The name of the file.
        num_frames: The number of samples of each utterance, by its key.
        speakers: The speaker of each utterance that has one.
    """

    shard: str
    num_frames: dict[str, int] = field(default_factory=dict)
    rejections: list[Rejection] = field(default_factory=list)
    speakers: dict[str, str] = field(default_factory=dict)
    num_converted: int = 0
    num_bytes_read: int = 0


def write_shard(task: ShardTask) -> ShardReport:
    """Write a shard, verified, unless it is finished; unfit utterances are skipped.

    Raises OSError where the result cannot be written.
    """
    with at_work(task.work):
        if task.path.is_file() and task.report.is_file():
            metadata = json.loads(task.report.read_text(encoding="utf-8"))
            rejections = [Rejection(**each) for each in metadata.pop("rejections")]
            return ShardReport(**metadata, rejections=rejections)
        report = ShardReport(task.path.name)
        with atomic_replacement(task.path) as unfinished:
            digests = {}
            with tarfile.open(unfinished, "w", format=tarfile.GNU_FORMAT) as tar:
                for name, content in _members(task, report):
                    digests[name] = hashlib.sha256(content).digest()
                    member = tarfile.TarInfo(name)  # no owner, group or time: same seed, same bytes
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))
            utterances = _read_back(unfinished, digests, task.path)
            write_index(task.path, unfinished.stat().st_size, utterances)
            replace_text(task.report, json.dumps(asdict(report)))
    return report


def _read_back(
    unfinished: Path, digests: Mapping[str, bytes], shard: Path
) -> list[IndexedUtterance]:
    """Return the utterances of a shard; raise OSError if its files are not as written."""
    found: dict[str, bytes] = {}
    files: list[StoredFile] = []
    with tarfile.open(unfinished) as tar:
        for member in tar:
            file = read_file(tar, member, with_content=True)
            found[member.name] = hashlib.sha256(file.content or b"").digest()
            is_audio = len(files) % 2 == 0
            files.append(replace(file, content=None) if is_audio else file)
    if found != digests:
        raise OSError(f"{shard} cannot be read back as it was written; check the disk.")
    return [
        IndexedUtterance(
            key=name.rpartition(".")[0],
            place=place_of(audio, text),
            metadata=json.loads(text.content or b""),
        )
        for name, audio, text in zip(list(found)[::2], files[::2], files[1::2], strict=True)
    ]


def _members(task: ShardTask, report: ShardReport) -> Iterator[tuple[str, bytes]]:
    """Yield the files of the shard in order, and fill the report."""
    with OpenFiles() as files:
        for utterance in task.utterances:
            try:
                samples, is_converted, num_bytes = utterance.audio.decode(
                    files, source=utterance.source
                )
                report.num_bytes_read += num_bytes
                if is_converted and task.is_strict:
                    raise ValueError("it is not 16 kHz mono, which --strict demands.")
                if len(samples) < MIN_UTTERANCE_SAMPLES:
                    raise ValueError(
                        f"it has {count(len(samples), 'sample')} at 16 kHz; one frame of the "
                        f"networks takes {MIN_UTTERANCE_SAMPLES}."
                    )
            except ValueError as error:
                report.rejections.append(Rejection(utterance.source, str(error)))
                continue
            metadata = {
                "key": utterance.key,
                **utterance.labels,
                "num_frames": len(samples),
                "sampling_rate": SAMPLE_RATE_HZ,
            }
            yield f"{utterance.key}.{task.audio_format}", encode(samples, task.audio_format)
            yield f"{utterance.key}.json", json.dumps(metadata).encode()
            report.num_frames[utterance.key] = len(samples)
            report.num_converted += is_converted
            if (speaker := labelled_speaker(utterance.labels)) is not None:
                report.speakers[utterance.key] = speaker
