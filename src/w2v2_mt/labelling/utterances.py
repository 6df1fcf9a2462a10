"""The utterances that a network labels: those of a manifest, or of a folder of shards."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from jaxtyping import Float

from w2v2_mt.core.atomic_output import atomic_replacement
from w2v2_mt.core.samples import EncodedSample
from w2v2_mt.core.speakers import SPEAKER_ENTRIES
from w2v2_mt.core.workers import Workers
from w2v2_mt.data.encoded_audio import decode
from w2v2_mt.data.shards import SHARD_PATTERN, find_shards, read_shard
from w2v2_mt.manifests.columns import COMPUTED
from w2v2_mt.manifests.manifest import read_manifest
from w2v2_mt.manifests.recordings import Recording, recording_key
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.audio import FULL_SCALE
from w2v2_mt.prepare.audio_sources import OpenFiles
from w2v2_mt.prepare.progress import stage_bars
from w2v2_mt.prepare.recorded_audio import RecordedFiles, open_recorded_files

_LABELS = ("transcription", *SPEAKER_ENTRIES, "session_id")


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceUtterance:
    """An utterance with the labels that it has.

    Args:
        key: A unique name, which it also has in shards that are made of the labels.
        session: The session or, if it is unknown, the file of the utterance.
        columns: Further values for its line in a manifest.
        load: Returns the waveform at 16 kHz; raises ValueError if it cannot be used.
        place: Returns the path of the audio relative to the root of a manifest in a folder, in
            which it may write a copy.
    """

    key: str
    text: str | None
    speaker: str | None
    session: str
    columns: Mapping[str, Any]
    load: Callable[[], Float[np.ndarray, " samples"]]
    place: Callable[[Path], str]


class LabelSource(ABC):
    """Utterances in a fixed order, as often as they are needed."""

    rejections: Sequence[Rejection] = ()
    """The lines that cannot be used, with reasons."""

    @abstractmethod
    def root(self, folder: Path) -> Path:
        """Return the root of the paths in a manifest in a folder."""

    @abstractmethod
    def digest(self) -> str:
        """Return a checksum that changes with the utterances, their labels or their audio."""

    @abstractmethod
    def prepare(self, work: Path) -> None:
        """Prepare the audio, with copies in a work folder where it is slow to read."""

    @abstractmethod
    def utterances(self) -> Iterator[SourceUtterance]:
        """Yield the utterances."""


def open_source(path: Path, *, root: Path | None) -> LabelSource:
    """Return the utterances of a folder of shards, or of a manifest.

    Args:
        path: A folder with shards, or what `read_manifest` reads.
        root: The folder that holds all audio of a manifest; by default that of the manifest.
    """
    if path.is_dir() and any(path.glob(SHARD_PATTERN)):
        if root is not None:
            raise ValueError(f"--root is that of a manifest, and {path} has shards. Leave it out.")
        return ShardSource(path)
    return ManifestSource(path, root=root)


class ManifestSource(LabelSource):
    """The recordings of a manifest, also those without any label."""

    def __init__(self, path: Path, *, root: Path | None) -> None:
        manifest = read_manifest(path, root=root, keep_unlabelled=True)
        self._recordings = manifest.recordings
        self._folder = manifest.root
        self.rejections = manifest.rejections
        self._files = RecordedFiles(manifest.root, {})

    def root(self, folder: Path) -> Path:
        """Return the root of the manifest."""
        return self._folder

    def digest(self) -> str:
        """Return a checksum of the recordings, and of the size and time of each file."""
        lines = []
        for each in self._recordings:
            status = (self._folder / each.path).stat()
            labels = [each.key, each.text, each.speaker, each.session, each.split, each.sex]
            lines.append([*labels, dict(each.metadata), status.st_size, status.st_mtime_ns])
        return _digest(lines)

    def prepare(self, work: Path) -> None:
        """Decode compressed files of several segments once."""
        with stage_bars() as bars, Workers(0) as workers:
            self._files = open_recorded_files(
                self._recordings, root=self._folder, work=work, workers=workers, bars=bars
            )

    def utterances(self) -> Iterator[SourceUtterance]:
        """Yield the recordings in the order of the manifest."""
        for each in self._recordings:
            labels = {
                "start": each.start_sec,
                "end": each.end_sec,
                "split": each.split,
                "sex": each.sex,
                "session": each.session,
            }
            known = {name: value for name, value in labels.items() if value is not None}
            yield SourceUtterance(
                key=each.key,
                text=each.text,
                speaker=each.speaker,
                session=each.session or each.path,
                columns={**known, **each.metadata},
                load=partial(self._load, each),
                place=partial(_path_of, each),
            )

    def _load(self, recording: Recording) -> Float[np.ndarray, " samples"]:
        with OpenFiles() as files:
            audio = self._files.audio_of(recording).decode(files, source=recording.line)
        return audio.samples.astype(np.float32) / FULL_SCALE


class ShardSource(LabelSource):
    """The utterances of a folder of shards, whose audio becomes files next to the manifest."""

    def __init__(self, folder: Path) -> None:
        self._shards = find_shards(folder, producer="one of scripts/data/*/produce_*.sh")

    def root(self, folder: Path) -> Path:
        """Return the folder of the manifest."""
        return folder

    def digest(self) -> str:
        """Return a checksum of the name, size and time of each shard."""
        stats = [(shard.name, shard.stat()) for shard in self._shards]
        return _digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])

    def prepare(self, work: Path) -> None:
        """Do nothing, since shards can be read anywhere."""

    def utterances(self) -> Iterator[SourceUtterance]:
        """Yield each utterance once, in the order of the shards."""
        seen: set[str] = set()
        for shard in self._shards:
            for sample in read_shard(shard, with_audio=False):
                if sample.key not in seen:
                    seen.add(sample.key)
                    yield _utterance_of(sample)


def _utterance_of(sample: EncodedSample) -> SourceUtterance:
    path = PurePosixPath(f"{sample.key}.wav")
    if path.is_absolute() or ".." in path.parts or recording_key(str(path)) != sample.key:
        raise ValueError(
            f"The key {sample.key!r} in shard {sample.shard} cannot be the name of a file. Write "
            "the shard again."
        )
    metadata = sample.metadata
    has_speaker = any(metadata.get(name) not in (None, "") for name in SPEAKER_ENTRIES)
    session, text = metadata.get("session_id"), metadata.get("transcription")
    others = {
        name: value
        for name, value in metadata.items()
        if name not in (*_LABELS, *COMPUTED) and value is not None
    }
    return SourceUtterance(
        key=sample.key,
        text=text if isinstance(text, str) and text else None,
        speaker=sample.speaker if has_speaker else None,
        session=str(session or PurePosixPath(sample.key).parent),
        columns=others if session is None else {"session": str(session), **others},
        load=lambda: decode(sample).numpy(),
        place=partial(_copy_audio, sample),
    )


def _path_of(recording: Recording, _: Path) -> str:
    return recording.path


def _copy_audio(sample: EncodedSample, folder: Path) -> str:
    """Write the audio of a sample to a file that is called like its key, unless it is there."""
    content = sample.audio_file()
    path = f"{sample.key}.{'flac' if content.startswith(b'fLaC') else 'wav'}"
    target = folder / path
    if target.exists():
        if target.read_bytes() != content:
            raise ValueError(
                f"{target} exists already, with other audio. Name an --output in a new folder."
            )
        return path
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_replacement(target) as part:
        part.write_bytes(content)
    return path


def _digest(lines: Sequence[object]) -> str:
    digest = hashlib.sha256()
    for line in lines:
        digest.update(json.dumps(line, sort_keys=True).encode() + b"\n")
    return digest.hexdigest()
