"""The utterances of VoxCeleb: their names, where each is stored, and the sex of its speaker."""

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple, cast

from w2v2_mt.audio.file_names import AUDIO_SUFFIXES
from w2v2_mt.core.text_files import read_text, split_lines
from w2v2_mt.core.units import count
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.manifests.rejections import Rejection
from w2v2_mt.prepare.archives import ZipMember, no_audio_error, zip_members

META_PRODUCER = "scripts/download/download_voxceleb_meta.sh"
ID_COLUMNS = ("VoxCeleb1 ID", "VoxCeleb2 ID")
SEX_COLUMN = "Gender"
ORIGINAL_SUFFIXES = (".m4a", ".m4b", ".mp4")
PART = re.compile(r"[A-Za-z0-9_-]+")


class UtteranceName(NamedTuple):
    """The parts of a key `<speaker>/<video>/<utterance>`."""

    speaker_id: str
    video_id: str
    utterance_id: str

    @property
    def key(self) -> str:
        """Return the key of the utterance in a shard."""
        return "/".join(self)

    @property
    def video(self) -> tuple[str, str]:
        """Return the speaker and the video."""
        return self.speaker_id, self.video_id


def parse_key(key: str, *, source: str) -> UtteranceName:
    """Split a key; `source` is its origin in the ValueError that a malformed key raises."""
    parts = key.split("/")
    if len(parts) != 3 or not all(PART.fullmatch(part) for part in parts):
        raise ValueError(
            f"{source} names {key!r}, which is not <speaker>/<video>/<utterance> in letters, "
            "digits, '_' and '-'; use the official file."
        )
    # Speakers, videos and numbers recur: a million names share their parts.
    return UtteranceName(*map(sys.intern, parts))


@dataclass(frozen=True)
class StoredNames:
    """The file of each utterance, the further files of those with several, and other files."""

    members: dict[UtteranceName, ZipMember] = field(default_factory=dict)
    duplicates: dict[UtteranceName, list[Rejection]] = field(default_factory=dict)
    passed_over: list[str] = field(default_factory=list)

    def add_archives(self, archives: Iterable[Path]) -> None:
        """Add the utterances `.../<speaker>/<video>/<utterance>.<suffix>` of archives.

        Other files than audio, by their names, are passed over, as are the originals (m4a) in
        archives of converted files, whose names do not end in `_aac`. Raises ValueError if an
        archive is corrupt or unsafe, holds no audio, or has another layout.
        """
        for archive in archives:
            originals = () if archive.stem.endswith("_aac") else ORIGINAL_SUFFIXES
            suffixes = tuple(AUDIO_SUFFIXES.difference(originals))
            member = None
            for member in zip_members(
                archive, suffixes=suffixes, on_passed_over=self.passed_over.append
            ):
                path = PurePosixPath(member.name)
                name = parse_key("/".join(path.with_suffix("").parts[-3:]), source=str(archive))
                if self.members.setdefault(name, member) is not member:
                    reason = f"the utterance {name.key} is that of an earlier file."
                    rejection = Rejection(f"{archive.name}: {member.name}", reason)
                    self.duplicates.setdefault(name, []).append(rejection)
            if member is None:
                raise no_audio_error(archive, suffixes)

    def duplicates_of(self, names: Iterable[UtteranceName]) -> list[Rejection]:
        """Return the files that are rejected since an earlier one holds the same utterance."""
        return sorted(each for name in names for each in self.duplicates.get(name, ()))


def read_sexes(path: Path) -> dict[str, Sex]:
    """Read the sex of each speaker, by id; raise ValueError if the file is malformed.

    Official files are separated by tabs or, in another edition, by commas; some begin with a
    byte-order mark, and some have spaces around each field.
    """
    # Only the columns of ids and sexes are read, which are ASCII; a name may be in any encoding.
    text = read_text(path, errors="replace")
    lines = [(number, line) for number, line in enumerate(split_lines(text), 1) if line.strip()]
    if not lines:
        raise ValueError(f"the meta file {path} is empty; download it again.")
    delimiter = "\t" if "\t" in lines[0][1] else ","
    header, *rows = ([field.strip(" ") for field in line.split(delimiter)] for _, line in lines)
    id_columns = [header.index(name) for name in ID_COLUMNS if name in header]
    if not id_columns or SEX_COLUMN not in header:
        raise ValueError(
            f"the meta file {path} has the columns {', '.join(header)}; it needs {SEX_COLUMN!r} "
            f"and one of {', '.join(map(repr, ID_COLUMNS))}, so download it again."
        )
    sexes: dict[str, Sex] = {}
    for (number, line), row in zip(lines[1:], rows, strict=True):
        sex = row[header.index(SEX_COLUMN)] if len(row) == len(header) else None
        if sex not in ("m", "f"):
            raise ValueError(
                f"{path}, line {number}: {line.strip()!r} is not a speaker with the sex 'm' or 'f' "
                f"in {count(len(header), 'column')}; correct the line."
            )
        speaker = row[id_columns[0]]
        if sexes.setdefault(speaker, cast(Sex, sex)) != sex:
            raise ValueError(
                f"{path}, line {number}: the speaker {speaker} has another sex than in an earlier "
                "line; correct the wrong one."
            )
    return sexes
