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
    """The utterances of each set, sorted."""

    train: list[UtteranceName]
    val: list[UtteranceName]
    test: list[UtteranceName]

    @property
    def train_speakers(self) -> list[str]:
        return sorted({name.speaker_id for name in self.train})


def split_utterances(
    names: Collection[UtteranceName],
    *,
    test: Collection[UtteranceName],
    sexes: Mapping[str, Sex],
    val_fraction: float,
    val_split_mode: ValSplitMode,
    seed: int,
) -> Split:
    """Split into training, validation and test utterances.

    Speakers of the test neither train nor validate. Validation takes whole videos ("equal": two of
    a speaker with at least three, so that every speaker still trains) or whole speakers
    ("different") until it holds `val_fraction` of the utterances and two speakers of each sex.
    Raises ValueError where that leaves nothing to train or to validate on.
    """
    if not 0 < val_fraction < 1:
        raise ValueError(f"val_fraction is {val_fraction}; it must be above 0 and below 1.")
    test_speakers = {name.speaker_id for name in test}
    videos = _videos_of_speakers(name for name in names if name.speaker_id not in test_speakers)
    unknown = sorted(speaker for speaker in videos if speaker not in sexes)
    if unknown:
        raise ValueError(
            f"the meta file does not name the speaker {unknown[0]} of the archives; download the "
            "meta file again."
        )
    num_wanted = val_fraction * sum(
        len(video) for speaker in videos.values() for video in speaker.values()
    )
    rng = random.Random(f"{seed} validation split")
    offers = (
        _offered_videos(videos, sexes=sexes, rng=rng)
        if val_split_mode == "equal"
        else _offered_speakers(videos, sexes=sexes, rng=rng)
    )
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
    split = Split(train=sorted(train), val=sorted(val), test=sorted(test))
    check_no_leakage(split, val_split_mode=val_split_mode)
    return split


def check_no_leakage(split: Split, *, val_split_mode: ValSplitMode) -> None:
    """Raise ValueError where two sets share an utterance or, where they must not, a speaker."""
    sets = {"train": split.train, "val": split.val, "test": split.test}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        keys = {name.key for name in sets[first]} & {name.key for name in sets[second]}
        speakers = {name.speaker_id for name in sets[first]} & {
            name.speaker_id for name in sets[second]
        }
        may_share_speakers = second == "val" and val_split_mode == "equal"
        shared = keys if may_share_speakers else keys | speakers
        if shared:
            raise ValueError(
                f"{first} and {second} share {min(shared)} ({len(keys)} utterances and "
                f"{len(speakers)} speakers in all); they must not overlap, so nothing is written."
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
