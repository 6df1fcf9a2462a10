"""Where each utterance of the VoxCeleb archives lies."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from w2v2_mt.data.preparation.archives import zip_members
from w2v2_mt.data.preparation.rejections import Rejection
from w2v2_mt.data.preparation.stored_files import ZipMember
from w2v2_mt.data.preparation.utterance_names import UtteranceName, parse_member_name


@dataclass(frozen=True)
class StoredNames:
    """The file of each utterance, and the further files of those that have several."""

    members: dict[UtteranceName, ZipMember] = field(default_factory=dict)
    duplicates: dict[UtteranceName, list[Rejection]] = field(default_factory=dict)

    def add_archive(self, archive: Path, *, suffix: str) -> None:
        """Raises ValueError for an archive that is missing, damaged or unsafe."""
        if not archive.is_file():
            raise ValueError(
                f"there is no archive {archive}; download it as the README says or set DATA_FOLDER."
            )
        for member in zip_members(archive, suffixes=(suffix,)):
            name = parse_member_name(member.name, source=str(archive))
            if name is None:
                continue
            if name in self.members:
                reason = f"the utterance {name.key} is that of an earlier file."
                rejection = Rejection(f"{archive.name}: {member.name}", reason)
                self.duplicates.setdefault(name, []).append(rejection)
            else:
                self.members[name] = member

    def duplicates_of(self, names: Iterable[UtteranceName]) -> list[Rejection]:
        """The files that are left out because an earlier one is of the same utterance."""
        return sorted(each for name in names for each in self.duplicates.get(name, ()))
