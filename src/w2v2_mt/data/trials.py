"""Read lists of verification trials, and shorten them for quick runs."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from w2v2_mt.core.text_files import read_text, split_fields, split_lines
from w2v2_mt.core.trials import Trial


def read_trials(path: Path, *, producer: str) -> list[Trial]:
    """Read a file with a line `1 key key` (target trial) or `0 key key` (non-target) per trial.

    Keys may end in `.wav` or `.m4a`, as in the official lists.

    Args:
        producer: The command that writes the file, for messages.

    Raises:
        ValueError: The file does not exist, is empty or too large, or has a malformed line.
    """
    if not path.is_file():
        raise ValueError(f"The trial list {path} must exist. Run {producer} or set DATA_FOLDER.")
    trials = []
    for number, line in enumerate(split_lines(read_text(path)), start=1):
        match split_fields(line):
            case []:
                continue
            case [("0" | "1") as label, left, right]:
                left, right = (
                    key.removesuffix(".wav").removesuffix(".m4a") for key in (left, right)
                )
                trials.append(Trial(same_speaker=label == "1", left_key=left, right_key=right))
            case _:
                raise ValueError(
                    f"{path}, line {number}: a trial must be '1 key key' (same speaker) or "
                    f"'0 key key', not {line!r}. Correct the line."
                )
    if not trials:
        raise ValueError(f"The trial list {path} must not be empty. Run {producer} again.")
    return trials


def limit_trials(trials: Iterable[Trial], num_each: int) -> list[Trial]:
    """Return the first `num_each` target trials and as many non-target trials, in order."""
    limited: list[Trial] = []
    counts: Counter[bool] = Counter()
    for trial in trials:
        counts[trial.same_speaker] += 1
        if counts[trial.same_speaker] <= num_each:
            limited.append(trial)
    return limited


def keys_of_trials(trials: Iterable[Trial]) -> frozenset[str]:
    """Return the keys of all utterances in the trials."""
    return frozenset(key for trial in trials for key in (trial.left_key, trial.right_key))
