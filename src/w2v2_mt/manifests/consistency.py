"""Rules across the recordings of a manifest, of which a violation puts the whole in doubt."""

from collections.abc import Iterable

from w2v2_mt.manifests.recordings import Recording


def check_consistency(recordings: Iterable[Recording]) -> None:
    """Check keys and sexes across all recordings; splits are checked where they are used.

    Raises:
        ValueError: Two recordings have the same key, or one speaker has two sexes.
    """
    lines: dict[str, str] = {}
    first_of_speaker: dict[str, Recording] = {}
    for each in recordings:
        first_line = lines.setdefault(each.key, each.line)
        if first_line is not each.line:
            raise ValueError(
                f"{each.line}: {each.path!r} has the same key ({each.key!r}) as the recording of "
                f"{first_line}. Remove one of the two lines or, if they are two files, rename one."
            )
        if each.sex and each.speaker:
            first = first_of_speaker.setdefault(each.speaker, each)
            if first.sex != each.sex:
                raise ValueError(
                    f"{each.line}: the speaker {each.speaker!r} has the sex {each.sex!r}, but in "
                    f"{first.line} {first.sex!r}. Correct one of them, or give each speaker a "
                    "name of their own."
                )
