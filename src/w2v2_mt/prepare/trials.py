"""Verification trials: drawn for a validation set, or read from an official list."""

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate, groupby, takewhile
from pathlib import Path
from typing import NamedTuple

from w2v2_mt.core.atomic_output import replace_text
from w2v2_mt.core.trials import Trial
from w2v2_mt.core.units import count
from w2v2_mt.data.trials import keys_of_trials, read_trials
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.voxceleb_utterances import META_PRODUCER, UtteranceName, parse_key


class SpokenUtterance(NamedTuple):
    """An utterance that a trial may name; its session is one of its speaker, "" if unknown."""

    speaker: str
    session: str
    key: str


def make_trials(
    utterances: Collection[SpokenUtterance],
    *,
    sexes: Mapping[str, Sex],
    num_trials: int,
    seed: int,
    set_name: str,
    remedy: str,
) -> list[Trial]:
    """Draw `num_trials` different pairs, or as many as exist, half of them of the same speaker.

    A pair of the same speaker comes from two sessions where the speaker has two; speakers with one
    session add pairs only if there are too few others. Two speakers of a pair have the same sex;
    those whose sex is unknown form pairs with each other. Raises ValueError with the name of the
    set and the remedy where no pair of one kind exists.
    """
    ordered = sorted(utterances, key=lambda each: (sexes.get(each.speaker, ""), each))
    # Per utterance, the later utterances that form target or non-target trials with it.
    positives: list[range] = []
    of_one_session: list[range] = []
    negatives: list[range] = []
    for sex in _runs(ordered, range(len(ordered)), key=lambda each: sexes.get(each.speaker, "")):
        for speaker in _runs(ordered, sex, key=lambda each: each.speaker):
            negatives += [range(speaker.stop, sex.stop)] * len(speaker)
            sessions = _runs(ordered, speaker, key=lambda each: each.session)
            positives += [
                range(session.stop, speaker.stop) for session in sessions for _ in session
            ]
            stop = speaker.stop if len(sessions) == 1 else 0
            of_one_session += [range(index + 1, stop) for index in speaker]
    if sum(map(len, positives)) < num_trials // 2:
        positives = [two or one for two, one in zip(positives, of_one_session, strict=True)]
    num_each = min(num_trials // 2, sum(map(len, positives)), sum(map(len, negatives)))
    if num_each == 0:
        num_speakers = len({each.speaker for each in ordered})
        raise ValueError(
            f"the {set_name} ({count(num_speakers, 'speaker')}) has no two utterances of one "
            f"speaker, or no two speakers of the same sex, so it has no trials; {remedy}."
        )
    rng = random.Random(f"{seed} trials")
    trials: list[Trial] = []
    for same_speaker, partners in ((True, positives), (False, negatives)):
        # Pairs of indices are drawn uniformly, without listing them all.
        ends = list(accumulate(map(len, partners)))
        for number in rng.sample(range(ends[-1]), num_each):
            left = bisect_right(ends, number)
            right = partners[left][number - ends[left]]
            trials.append(Trial(same_speaker, ordered[left].key, ordered[right].key))
    rng.shuffle(trials)
    return trials


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write a line `1 key key` (same speaker) or `0 key key` for each trial."""
    lines = [f"{trial.same_speaker:d} {trial.left_key} {trial.right_key}\n" for trial in trials]
    replace_text(path, "".join(lines))


def _runs(
    utterances: Sequence[SpokenUtterance], within: range, *, key: Callable[[SpokenUtterance], str]
) -> list[range]:
    """Return the runs of indices whose utterances have the same key."""
    runs = [list(run) for _, run in groupby(within, key=lambda index: key(utterances[index]))]
    return [range(run[0], run[-1] + 1) for run in runs]


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

    def check_complete(self, available: Set[UtteranceName], problem: str, remedy: str) -> None:
        """Raise ValueError with the problem and its remedy if an utterance is not available."""
        missing = sorted(self.utterances - available)
        if missing:
            raise ValueError(
                f"{self.path} names {missing[0].key}, which {problem} "
                f"({count(len(missing), 'such utterance')} in all); {remedy}."
            )


def read_trial_list(path: Path, *, limit: int | None) -> TrialList:
    """Read a list of trials; a limit keeps those before the one that would need more utterances."""
    trials = read_trials(path, producer=META_PRODUCER)
    for trial in trials:
        if trial.left_key == trial.right_key:
            raise ValueError(
                f"{path} has a trial of {trial.left_key} with itself, which tests nothing; remove "
                "the line, or use the official list."
            )
        speakers = {key.split("/")[0] for key in (trial.left_key, trial.right_key)}
        if trial.same_speaker != (len(speakers) == 1):
            line = f"{trial.same_speaker:d} {trial.left_key} {trial.right_key}"
            label = "one speaker" if trial.same_speaker else "two speakers"
            raise ValueError(
                f"{path} has the trial '{line}', whose label says {label}, unlike its keys; "
                "correct the line, or use the official list."
            )
    keys: set[str] = set()

    def fits_limit(trial: Trial) -> bool:
        keys.update((trial.left_key, trial.right_key))
        return limit is None or len(keys) <= limit

    tested = list(takewhile(fits_limit, trials))
    utterances, listed = (
        {parse_key(key, source=str(path)) for key in keys_of_trials(each)}
        for each in (tested, trials)
    )
    return TrialList(path=path, trials=tested, utterances=utterances, listed=listed)
