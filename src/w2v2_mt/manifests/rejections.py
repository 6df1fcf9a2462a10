"""Rejected files: listed with the reason, and limited to a share of the corpus."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from w2v2_mt.core.terminal import visible
from w2v2_mt.core.units import count

REJECTED_FILE = "rejected.tsv"


@dataclass(frozen=True, order=True)
class Rejection:
    """A file of the archives, and in a sentence why it is rejected."""

    file: str
    reason: str


def write_rejections(path: Path, rejections: Iterable[Rejection]) -> None:
    """Write the sorted list, one line each under a line of headings; control characters visibly."""
    lines = [
        f"{visible(each.file, keep='')}\t{visible(' '.join(each.reason.split()), keep='')}\n"
        for each in sorted(rejections)
    ]
    path.write_text("file\treason\n" + "".join(lines), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class RejectionAccount:
    """The rejected files of a corpus, which must not exceed a share of all `num_files`.

    A list that gets too long is left in `folder`. `remedy` is what to do about bad files.
    """

    num_files: int
    max_share: float
    folder: Path
    remedy: str = "get better archives"
    rejections: list[Rejection] = field(default_factory=list)

    def add(self, rejections: Iterable[Rejection]) -> None:
        """Add rejected files; raise ValueError if there are too many by now."""
        self.rejections.extend(rejections)
        if len(self.rejections) > self.max_share * self.num_files:
            self.refuse(
                f"more than --max_rejected allows ({self.max_share:g} of them)",
                remedy=" or raise --max_rejected",
            )

    def refuse(self, complaint: str, *, remedy: str = "") -> NoReturn:
        """Write the list of rejected files, and raise a ValueError that names the first."""
        path = self.folder / REJECTED_FILE
        write_rejections(path, self.rejections)
        raise ValueError(
            f"{len(self.rejections)} of {count(self.num_files, 'file')} are rejected so far, "
            f"{complaint}, the first being {self.rejections[0].file} "
            f"({self.rejections[0].reason}); {path} lists them, so {self.remedy}{remedy}."
        )
