"""The official list of the trials of a test: read, shortened by a limit, held against the files."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.preparation.utterance_names import UtteranceName, parse_key
from w2v2_mt.data.trials import keys_of_trials, read_trials

META_PRODUCER = "scripts/download/download_voxceleb_meta.sh"


@dataclass(frozen=True, kw_only=True)
class TrialList:
    """The trials that are tested, and the utterances in them.

    `listed` are all utterances that the file names, also those whose trials a limit leaves out:
    none of their speakers may train.
    """

    path: Path
    trials: Sequence[Trial]
    utterances: set[UtteranceName]
    listed: set[UtteranceName]

    def check_stored(self, stored: Collection[UtteranceName]) -> None:
        """Raise ValueError where a trial names an utterance that no archive holds."""
        missing = sorted(name for name in self.utterances if name not in stored)
        if missing:
            raise ValueError(
                f"{self.path} names {missing[0].key}, which no archive holds ({len(missing)} such "
                "utterances in all); get the complete archives."
            )

    def check_kept(self, kept: Iterable[str]) -> None:
        """Raise ValueError where a trial names an utterance that was rejected."""
        lost = sorted(keys_of_trials(self.trials).difference(kept))
        if lost:
            raise ValueError(
                f"{self.path} names {lost[0]}, which is rejected as unfit for use ({len(lost)} "
                "such utterances in all); get better archives, or a list without it."
            )


def read_trial_list(path: Path, *, limit: int | None) -> TrialList:
    """With a limit, the trials before the one that would need more utterances.

    Raises ValueError for a list that is missing or malformed, or has a trial of an utterance with
    itself.
    """
    trials = read_trials(path, producer=META_PRODUCER)
    for trial in trials:
        if trial.left_key == trial.right_key:
            raise ValueError(
                f"{path} has a trial of {trial.left_key} with itself, which tests nothing; remove "
                "the line, or use the official list."
            )
    chosen = _before_limit(trials, limit=limit)
    return TrialList(
        path=path,
        trials=chosen,
        utterances=_names(chosen, source=path),
        listed=_names(trials, source=path),
    )


def _names(trials: Sequence[Trial], *, source: Path) -> set[UtteranceName]:
    return {parse_key(key, source=str(source)) for key in keys_of_trials(trials)}


def _before_limit(trials: Sequence[Trial], *, limit: int | None) -> Sequence[Trial]:
    if limit is None:
        return trials
    chosen: list[Trial] = []
    keys: set[str] = set()
    for trial in trials:
        keys |= {trial.left_key, trial.right_key}
        if len(keys) > limit:
            break
        chosen.append(trial)
    return chosen
