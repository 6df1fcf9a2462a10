"""Files that must not reach a shard: listed with the reason, and no more than a few of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

REJECTED_FILE = "rejected.tsv"


@dataclass(frozen=True, order=True)
class Rejection:
    """A file of the archives, and in a sentence why it is left out."""

    file: str
    reason: str


def write_rejections(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write the sorted list, one line each under a line of headings."""
    lines = [f"{each.file}\t{' '.join(each.reason.split())}\n" for each in sorted(rejections)]
    path.write_text("file\treason\n" + "".join(lines), encoding="utf-8")


class RejectionAccount:
    """What has been rejected of a corpus so far, which may be no more than a share of its files.

    Args:
        num_files: of the whole corpus.
        max_share: the share of them that may be rejected.
        folder: where the list is left when it gets too long.
    """

    def __init__(self, *, num_files: int, max_share: float, folder: Path) -> None:
        self.num_files = num_files
        self.max_share = max_share
        self.folder = folder
        self.rejections: list[Rejection] = []

    def add(self, rejections: Iterable[Rejection]) -> None:
        """Raises ValueError where that is too many."""
        self.rejections += rejections
        if len(self.rejections) <= self.max_share * self.num_files:
            return
        self.refuse(
            f"more than --max_rejected allows ({self.max_share:g} of them)",
            remedy=" or raise --max_rejected",
        )

    def refuse(self, complaint: str, *, remedy: str = "") -> NoReturn:
        """Leave the list of what is rejected, and raise a ValueError that names the first."""
        path = self.folder / REJECTED_FILE
        write_rejections(path, self.rejections)
        raise ValueError(
            f"{len(self.rejections)} of {self.num_files} files are rejected so far, {complaint}, "
            f"the first being {self.rejections[0].file} ({self.rejections[0].reason}); {path} "
            f"lists them, so get better archives{remedy}."
        )
