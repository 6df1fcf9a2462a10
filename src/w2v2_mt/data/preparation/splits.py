"""Which utterances train, which validate, which test; and the proof that no two overlap."""

import random
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

from w2v2_mt.data.preparation.meta import Sex
from w2v2_mt.data.preparation.utterance_names import UtteranceName

ValSplitMode = Literal["equal", "different"]
Videos = dict[tuple[str, str], list[UtteranceName]]

MIN_VAL_SPEAKERS_PER_SEX = 2
"""So that there are pairs of different speakers of the same sex."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The utterances that train and those that validate, sorted."""

    train: list[UtteranceName]
    val: list[UtteranceName]

    @property
    def train_speakers(self) -> list[str]:
        return sorted({name.speaker_id for name in self.train})


def split_utterances(
    names: Collection[UtteranceName],
    *,
    sexes: Mapping[str, Sex],
    val_fraction: float,
    val_split_mode: ValSplitMode,
    seed: int,
) -> Split:
    """Split into training and validation utterances.

    Validation takes whole videos ("equal": two of a speaker with at least three, so that every
    speaker still trains) or whole speakers ("different") until it holds `val_fraction` of the
    utterances and two speakers of each sex. Raises ValueError where that leaves nothing to train or
    to validate on.
    """
    check_val_fraction(val_fraction)
    videos = _videos_of_speakers(names)
    unknown = sorted(speaker for speaker in videos if speaker not in sexes)
    if unknown:
        raise ValueError(
            f"the meta file does not name the speaker {unknown[0]} of the archives; download the "
            "meta file again."
        )
    rng = random.Random(f"{seed} validation split")
    offers = (
        _offered_videos(videos, sexes=sexes, rng=rng)
        if val_split_mode == "equal"
        else _offered_speakers(videos, sexes=sexes, rng=rng)
    )
    num_wanted = val_fraction * len(names)
    chosen = _chosen_videos(videos, offers=offers, sexes=sexes, num_wanted=num_wanted)
    train: list[UtteranceName] = []
    val: list[UtteranceName] = []
    for speaker_videos in videos.values():
        for video, utterances in speaker_videos.items():
            (val if video in chosen else train).extend(utterances)
    for set_name, utterances in (("validation", val), ("training", train)):
        if not utterances:
            raise ValueError(
                f"with --val_split_mode {val_split_mode}, {len(videos)} speakers are too few to "
                f"leave utterances for {set_name}; use more speakers or the other mode."
            )
    return Split(train=sorted(train), val=sorted(val))


def check_val_fraction(val_fraction: float) -> None:
    """Raise ValueError for what is no part of a whole."""
    if not 0 < val_fraction < 1:
        raise ValueError(f"--val_fraction is {val_fraction}; it must be above 0 and below 1.")


def check_no_leakage(
    split: Split,
    *,
    tests: Mapping[str, Collection[UtteranceName]],
    val_split_mode: ValSplitMode,
) -> None:
    """Raise ValueError where two sets share an utterance or, where they must not, a speaker.

    `tests` are the utterances of each test list; those may overlap each other.
    """
    sets: dict[str, Collection[UtteranceName]] = {"train": split.train, "val": split.val, **tests}
    pairs = [("train", "val"), *((first, test) for first in ("train", "val") for test in tests)]
    for first, second in pairs:
        keys = set(sets[first]).intersection(sets[second])
        speakers = {name.speaker_id for name in sets[first]}.intersection(
            name.speaker_id for name in sets[second]
        )
        may_share_speakers = second == "val" and val_split_mode == "equal"
        if keys or (speakers and not may_share_speakers):
            shared = min(keys).key if keys else min(speakers)
            raise ValueError(
                f"{first} and {second} share {shared} ({len(keys)} utterances and "
                f"{len(speakers)} speakers in all); they must not overlap, so nothing is written: "
                "use the official archives and lists."
            )


def _videos_of_speakers(names: Iterable[UtteranceName]) -> dict[str, Videos]:
    videos: dict[str, Videos] = defaultdict(lambda: defaultdict(list))
    for name in sorted(names):
        videos[name.speaker_id][name.video].append(name)
    return videos


def _offered_videos(
    videos: Mapping[str, Videos], *, sexes: Mapping[str, Sex], rng: random.Random
) -> Iterator[list[tuple[str, str]]]:
    """First two videos of each speaker who has three, then one of each who has two."""
    for num_offered, speakers in (
        (2, [speaker for speaker in videos if len(videos[speaker]) > 2]),
        (1, [speaker for speaker in videos if len(videos[speaker]) == 2]),
    ):
        for speaker in _alternating(speakers, sexes=sexes, rng=rng):
            yield rng.sample(list(videos[speaker]), num_offered)


def _offered_speakers(
    videos: Mapping[str, Videos], *, sexes: Mapping[str, Sex], rng: random.Random
) -> Iterator[list[tuple[str, str]]]:
    """All videos of each speaker, those with two or more first; one speaker is never offered."""
    order = sorted(
        _alternating(list(videos), sexes=sexes, rng=rng),
        key=lambda speaker: len(videos[speaker]) < 2,
    )
    for speaker in order[:-1]:
        yield list(videos[speaker])


def _alternating(speakers: list[str], *, sexes: Mapping[str, Sex], rng: random.Random) -> list[str]:
    """The speakers in a random order in which the sexes alternate as long as both last."""
    shuffled = rng.sample(speakers, len(speakers))
    by_sex = [[speaker for speaker in shuffled if sexes[speaker] == sex] for sex in ("f", "m")]
    return [speaker for pair in zip_longest(*by_sex) for speaker in pair if speaker is not None]


def _chosen_videos(
    videos: Mapping[str, Videos],
    *,
    offers: Iterator[list[tuple[str, str]]],
    sexes: Mapping[str, Sex],
    num_wanted: float,
) -> set[tuple[str, str]]:
    chosen: set[tuple[str, str]] = set()
    num_chosen = 0
    num_speakers = dict.fromkeys(sexes.values(), 0)
    for offer in offers:
        speaker = offer[0][0]
        sex = sexes[speaker]
        if num_chosen >= num_wanted and num_speakers[sex] >= MIN_VAL_SPEAKERS_PER_SEX:
            continue
        chosen.update(offer)
        num_chosen += sum(len(videos[speaker][video]) for video in offer)
        num_speakers[sex] += 1
    return chosen
