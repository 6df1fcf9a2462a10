"""Lists of verification trials: read from a file, shortened for quick runs."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path

from w2v2_mt.core.trials import Trial

_AUDIO_SUFFIXES = (".wav", ".m4a")


def read_trials(path: Path, *, producer: str) -> list[Trial]:
    """The trials of a file with a line `1 key key` (same speaker) or `0 key key` for each.

    Keys may carry `.wav` or `.m4a` as in the official lists. A missing file is a ValueError that
    says to run `producer`, a malformed line one that names the file and the line.
    """
    if not path.is_file():
        raise ValueError(f"there is no trial list {path}: run {producer} or set DATA_FOLDER")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"the trial list {path} is not UTF-8 text ({error}): run {producer} again"
        ) from error
    lines = enumerate(text.splitlines(), start=1)
    trials = [_parsed(line, f"{path}, line {number}") for number, line in lines if line.strip()]
    if not trials:
        raise ValueError(f"the trial list {path} is empty: run {producer} again")
    return trials


def limited_trials(trials: Sequence[Trial], num_each: int) -> list[Trial]:
    """The first `num_each` trials of one speaker and the first `num_each` of two, in order."""
    chosen = {
        id(trial)
        for same_speaker in (True, False)
        for trial in islice((t for t in trials if t.same_speaker is same_speaker), num_each)
    }
    return [trial for trial in trials if id(trial) in chosen]


def keys_of_trials(trials: Iterable[Trial]) -> frozenset[str]:
    """The keys of all utterances that the trials name."""
    return frozenset(key for trial in trials for key in (trial.left_key, trial.right_key))


def _parsed(line: str, place: str) -> Trial:
    fields = line.split()
    if len(fields) != 3 or fields[0] not in ("0", "1"):
        raise ValueError(
            f"{place}: a trial is '1 key key' (same speaker) or '0 key key', "
            f"not {line!r}; correct the line"
        )
    label, left, right = fields
    return Trial(same_speaker=label == "1", left_key=_key(left), right_key=_key(right))


def _key(name: str) -> str:
    for suffix in _AUDIO_SUFFIXES:
        name = name.removesuffix(suffix)
    return name
