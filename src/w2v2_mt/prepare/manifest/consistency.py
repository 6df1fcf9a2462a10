"""Rules across the recordings of a manifest, of which a violation puts the whole in doubt."""

from collections.abc import Iterable
from typing import NamedTuple

from w2v2_mt.prepare.recordings import Recording


class _First(NamedTuple):
    """The first value of a speaker or session, and where it is."""

    value: str
    line: str


def check_consistency(recordings: Iterable[Recording]) -> None:
    """Check keys, splits and sexes across all recordings.

    Raises:
        ValueError: Two recordings have the same key, or one speaker is in two splits or has two
            sexes; without a speaker, the same holds for the splits of a session.
    """
    lines: dict[str, str] = {}
    splits: dict[tuple[str, str], _First] = {}
    sexes: dict[str, _First] = {}
    for each in recordings:
        first_line = lines.setdefault(each.key, each.line)
        if first_line is not each.line:
            raise ValueError(
                f"{each.line}: {each.path!r} has the same key ({each.key!r}) as the recording of "
                f"{first_line}. Remove one of the two lines or, if they are two files, rename one."
            )
        label, name = ("speaker", each.speaker) if each.speaker else ("session", each.session)
        if each.split and name:
            first = splits.setdefault((label, name), _First(each.split, each.line))
            if first.value != each.split:
                raise ValueError(
                    f"{each.line}: the {label} {name!r} is in the split {each.split!r}, but in "
                    f"{first.line} in {first.value!r}; a test is only honest on {label}s that did "
                    f"not train. Correct one of them, or leave out the column of {label}s or of "
                    "splits."
                )
        if each.sex and each.speaker:
            first = sexes.setdefault(each.speaker, _First(each.sex, each.line))
            if first.value != each.sex:
                raise ValueError(
                    f"{each.line}: the speaker {each.speaker!r} has the sex {each.sex!r}, but in "
                    f"{first.line} {first.value!r}. Correct one of them, or give each speaker a "
                    "name of their own."
                )
