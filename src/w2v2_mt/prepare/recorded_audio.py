"""The audio of recordings on disk: files of their own, or segments of longer files."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.progress import Progress

from w2v2_mt.core.atomic_output import atomic_replacement, replace_text
from w2v2_mt.core.workers import Workers
from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.prepare.audio import can_seek, decode, decode_segment, decode_to_file
from w2v2_mt.prepare.audio_sources import AudioSource, DecodedAudio, OpenFiles
from w2v2_mt.prepare.work_folder import at_work


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedFile(AudioSource):
    """A file on disk, or the segment of it from `start_sec` to `end_sec`.

    Args:
        is_converted: The file is a decoded copy of one that is not 16 kHz mono.
        problem: Why the file cannot be used, as far as it is known.
    """

    path: Path
    start_sec: float | None
    end_sec: float | None
    is_converted: bool = False
    problem: str | None = None

    def decode(self, files: OpenFiles, *, source: str) -> DecodedAudio:
        """Return the audio; raise ValueError if it cannot be used."""
        if self.problem is not None:
            raise ValueError(self.problem)
        if not self.path.is_file():
            raise ValueError(f"{self.path} does not exist, or is not a regular file.")
        if self.start_sec is None and self.end_sec is None:
            audio = decode(self.path, source=str(self.path))
            return DecodedAudio(*audio, self.path.stat().st_size)
        samples, is_converted = decode_segment(
            self.path,
            start_sec=self.start_sec or 0.0,
            end_sec=self.end_sec,
            source=str(self.path),
        )
        return DecodedAudio(samples, is_converted or self.is_converted, samples.nbytes)


@dataclass(frozen=True, kw_only=True)
class CopyReport:
    """The outcome for a file of several segments: read in place, copied, or not usable."""

    is_copied: bool = False
    is_converted: bool = False
    problem: str | None = None


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A file of several segments, and the place of its decoded copy, if it needs one."""

    original: Path
    target: Path
    work: Path

    @property
    def report_file(self) -> Path:
        """Return the path of the report."""
        return self.target.with_suffix(".json")

    @property
    def report(self) -> CopyReport:
        """Return the outcome for the file, once it was made."""
        return CopyReport(**json.loads(self.report_file.read_text(encoding="utf-8")))

    def make(self) -> None:
        """Make the copy, unless that was done before or the segments can be read in place."""
        with at_work(self.work):
            if not self.report_file.is_file():
                replace_text(self.report_file, json.dumps(asdict(self._make())))

    def _make(self) -> CopyReport:
        source = str(self.original)
        try:
            if not self.original.is_file() or can_seek(self.original, source=source):
                return CopyReport()
            with atomic_replacement(self.target) as unfinished:
                is_converted = decode_to_file(self.original, unfinished, source=source)
        except ValueError as error:
            return CopyReport(problem=str(error))
        return CopyReport(is_copied=True, is_converted=is_converted)


@dataclass(frozen=True)
class RecordedFiles:
    """The audio of recordings in files below the folder `root`.

    A file of several segments that is not wav or flac can only be decoded from its beginning, so
    it is decoded once, to a copy in the work folder. The copies take 115 MB per hour. `reports`
    are those of the files of several segments, with the paths of their copies.
    """

    root: Path
    reports: dict[str, tuple[Path, CopyReport]]

    def audio_of(self, recording: Recording) -> RecordedFile:
        """Return the place of the audio of a recording."""
        original = self.root / recording.path
        copy, report = self.reports.get(recording.path, (original, CopyReport()))
        return RecordedFile(
            path=copy if report.is_copied and recording.is_segment else original,
            start_sec=recording.start_sec,
            end_sec=recording.end_sec,
            is_converted=report.is_converted,
            problem=report.problem,
        )


def open_recorded_files(
    recordings: Iterable[Recording], *, root: Path, work: Path, workers: Workers, bars: Progress
) -> RecordedFiles:
    """Return the audio of recordings; make the copies that are needed and not there from before."""
    num_segments = Counter(each.path for each in recordings if each.is_segment)
    several = sorted(path for path, number in num_segments.items() if number > 1)
    folder = work / "decoded"
    folder.mkdir(exist_ok=True)
    copies = {
        path: Copy(original=root / path, target=folder / f"{number:06d}.w64", work=work)
        for number, path in enumerate(several)
    }
    bar = bars.add_task("long files", total=len(copies), unit="files", visible=bool(copies))
    for _ in workers.answers(Copy.make, copies.values()):
        bars.advance(bar)
    return RecordedFiles(root, {path: (copy.target, copy.report) for path, copy in copies.items()})
