"""Verification trials for a validation set: pairs of utterances of the same sex, half of them of
one speaker."""

import random
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, combinations
from pathlib import Path

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.preparation.meta import Sex
from w2v2_mt.data.preparation.utterance_names import UtteranceName

Block = tuple[Sequence[UtteranceName], Sequence[UtteranceName]]
"""Stands for all pairs of one of the first and one of the second utterances."""


def make_trials(
    names: Collection[UtteranceName], *, sexes: Mapping[str, Sex], num_trials: int, seed: int
) -> list[Trial]:
    """Draw `num_trials` different pairs, or as many as exist, half of them of the same speaker.

    A pair of the same speaker comes from two videos where the speaker has two. Raises ValueError
    where no pair of one kind exists.
    """
    if num_trials < 2 or num_trials % 2:
        raise ValueError(
            f"num_val_trials is {num_trials}; it must be an even number of at least 2, since half "
            "of the trials are of each kind."
        )
    videos: dict[str, dict[str, list[UtteranceName]]] = defaultdict(lambda: defaultdict(list))
    for name in sorted(names):
        videos[name.speaker_id][name.video_id].append(name)
    positives = [block for speaker in videos.values() for block in _positive_blocks(speaker)]
    negatives = _negative_blocks(videos, sexes=sexes)
    num_each = min(num_trials // 2, _num_pairs(positives), _num_pairs(negatives))
    if num_each == 0:
        raise ValueError(
            f"the {len(videos)} speakers of the validation set have no two utterances of one "
            "speaker, or no two speakers of the same sex, so it has no trials; raise "
            "--val_fraction or use more speakers."
        )
    rng = random.Random(f"{seed} trials")
    trials = [
        Trial(same_speaker=same_speaker, left_key=left.key, right_key=right.key)
        for same_speaker, blocks in ((True, positives), (False, negatives))
        for left, right in _drawn_pairs(blocks, num_pairs=num_each, rng=rng)
    ]
    rng.shuffle(trials)
    return trials


def write_trials(path: Path, trials: Iterable[Trial]) -> None:
    """Write a line `1 key key` (same speaker) or `0 key key` for each trial."""
    lines = [f"{trial.same_speaker:d} {trial.left_key} {trial.right_key}\n" for trial in trials]
    path.write_text("".join(lines), encoding="utf-8")


def _positive_blocks(videos: Mapping[str, list[UtteranceName]]) -> list[Block]:
    if len(videos) > 1:
        return list(combinations(videos.values(), 2))
    (only_video,) = videos.values()
    return [([left], [right]) for left, right in combinations(only_video, 2)]


def _negative_blocks(
    videos: Mapping[str, Mapping[str, list[UtteranceName]]], *, sexes: Mapping[str, Sex]
) -> list[Block]:
    utterances = {
        speaker: [name for video in speaker_videos.values() for name in video]
        for speaker, speaker_videos in videos.items()
    }
    return [
        (utterances[left], utterances[right])
        for left, right in combinations(utterances, 2)
        if sexes[left] == sexes[right]
    ]


def _num_pairs(blocks: Iterable[Block]) -> int:
    return sum(len(lefts) * len(rights) for lefts, rights in blocks)


def _drawn_pairs(
    blocks: Sequence[Block], *, num_pairs: int, rng: random.Random
) -> list[tuple[UtteranceName, UtteranceName]]:
    """Different pairs, each as likely as any other, without listing them all."""
    ends = list(accumulate(len(lefts) * len(rights) for lefts, rights in blocks))
    pairs = []
    for index in rng.sample(range(ends[-1]), num_pairs):
        block = bisect_right(ends, index)
        lefts, rights = blocks[block]
        left, right = divmod(ends[block] - 1 - index, len(rights))
        pairs.append((lefts[left], rights[right]))
    return pairs
