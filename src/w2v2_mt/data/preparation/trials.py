"""Verification trials for a validation set: pairs of utterances of the same sex, half of them of
one speaker."""

import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from pathlib import Path

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.preparation.meta import Sex
from w2v2_mt.data.preparation.utterance_names import UtteranceName


def make_trials(
    names: Collection[UtteranceName], *, sexes: Mapping[str, Sex], num_trials: int, seed: int
) -> list[Trial]:
    """Draw `num_trials` different pairs, or as many as exist, half of them of the same speaker.

    A pair of the same speaker comes from two videos where the speaker has two. Raises ValueError
    where no pair of one kind exists.
    """
    check_num_trials(num_trials)
    ordered = sorted(names, key=lambda name: (sexes[name.speaker_id], name))
    positives = _same_speaker_partners(ordered)
    negatives = _other_speaker_partners(ordered, sexes=sexes)
    num_each = min(num_trials // 2, sum(map(len, positives)), sum(map(len, negatives)))
    if num_each == 0:
        num_speakers = len({name.speaker_id for name in ordered})
        raise ValueError(
            f"the {num_speakers} speakers of the validation set have no two utterances of one "
            "speaker, or no two speakers of the same sex, so it has no trials; raise "
            "--val_fraction or use more speakers."
        )
    rng = random.Random(f"{seed} trials")
    trials = [
        Trial(same_speaker=same_speaker, left_key=ordered[left].key, right_key=ordered[right].key)
        for same_speaker, partners in ((True, positives), (False, negatives))
        for left, right in _drawn_pairs(partners, num_pairs=num_each, rng=rng)
    ]
    rng.shuffle(trials)
    return trials


def check_num_trials(num_trials: int) -> None:
    """Raise ValueError for a number of trials that cannot be."""
    if num_trials < 2 or num_trials % 2:
        raise ValueError(
            f"--num_val_trials is {num_trials}; it must be an even number of at least 2, since "
            "half of the trials are of each kind."
        )


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write a line `1 key key` (same speaker) or `0 key key` for each trial."""
    lines = [f"{trial.same_speaker:d} {trial.left_key} {trial.right_key}\n" for trial in trials]
    path.write_text("".join(lines), encoding="utf-8")


def _same_speaker_partners(ordered: Sequence[UtteranceName]) -> list[range]:
    """For each utterance, those behind it that it may be paired with: of the speaker's later
    videos, or of the same video where the speaker has no other."""
    partners: list[range] = []
    for start, stop in _runs(ordered, key=lambda name: name.speaker_id):
        ends = list(_runs(ordered[start:stop], key=lambda name: name.video_id))
        for first, last in ends:
            for position in range(first, last):
                begin = last if len(ends) > 1 else position + 1
                partners.append(range(start + begin, stop))
    return partners


def _other_speaker_partners(
    ordered: Sequence[UtteranceName], *, sexes: Mapping[str, Sex]
) -> list[range]:
    """For each utterance, those behind it of other speakers of the same sex."""
    partners: list[range] = []
    for start, stop in _runs(ordered, key=lambda name: sexes[name.speaker_id]):
        for first, last in _runs(ordered[start:stop], key=lambda name: name.speaker_id):
            partners += [range(start + last, stop)] * (last - first)
    return partners


def _runs(
    names: Sequence[UtteranceName], *, key: Callable[[UtteranceName], str]
) -> Iterator[tuple[int, int]]:
    """Where neighbours with the same key begin and end."""
    start = 0
    for _, run in groupby(names, key=key):
        stop = start + sum(1 for _ in run)
        yield start, stop
        start = stop


def _drawn_pairs(
    partners: Sequence[range], *, num_pairs: int, rng: random.Random
) -> Iterator[tuple[int, int]]:
    """Different pairs of indices, each as likely as any other, without listing them all."""
    ends = list(accumulate(map(len, partners)))
    for number in rng.sample(range(ends[-1]), num_pairs):
        left = bisect_right(ends, number)
        yield left, partners[left][number - ends[left]]
