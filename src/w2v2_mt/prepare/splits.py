"""The split into training and validation utterances, and the check that no sets overlap."""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import product, zip_longest

from w2v2_mt.core.units import count
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.options import ValSplitMode, VoxCelebOptions
from w2v2_mt.prepare.voxceleb_utterances import UtteranceName

Video = tuple[str, str]
"""The speaker and the video."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The utterances that train and those that validate, sorted."""

    train: list[UtteranceName]
    val: list[UtteranceName]

    @property
    def train_speakers(self) -> list[str]:
        """Return the training speakers in alphabetical order."""
        return sorted({name.speaker_id for name in self.train})


def split_utterances(
    names: Collection[UtteranceName], *, sexes: Mapping[str, Sex], options: VoxCelebOptions
) -> Split:
    """Split into training and validation utterances.

    Validation takes whole videos ("equal": two of a speaker with at least three, so that every
    speaker still trains) or whole speakers ("different") until it holds `val_fraction` of the
    utterances and two speakers of each sex. In "equal" mode every other speaker with two videos or
    more then adds the smallest one, so that validation has all speakers that it can have.
    Raises ValueError where that leaves nothing to train or to validate on.
    """
    num_utterances = Counter(name.video for name in sorted(names))
    videos: dict[str, list[Video]] = defaultdict(list)
    for video in num_utterances:
        videos[video[0]].append(video)
    unknown = sorted(speaker for speaker in videos if speaker not in sexes)
    if unknown:
        raise ValueError(
            f"the meta file does not name the speaker {unknown[0]} of the archives "
            f"({count(len(unknown), 'such speaker')}). Files must be in folders <speaker>/<video>: "
            "if a level is missing, use the official archives; otherwise get the meta file of this "
            "corpus."
        )
    rng = random.Random(f"{options.seed} validation split")
    chosen: set[Video] = set()
    num_chosen = 0
    num_speakers: Counter[Sex] = Counter()
    for offer in _offer_videos(videos, mode=options.val_split_mode, sexes=sexes, rng=rng):
        sex = sexes[offer[0][0]]
        # Non-target trials of the same sex need two speakers.
        if num_chosen < options.val_fraction * len(names) or num_speakers[sex] < 2:
            chosen.update(offer)
            num_chosen += sum(num_utterances[video] for video in offer)
            num_speakers[sex] += 1
        elif options.val_split_mode == "equal":
            others = rng.sample(videos[offer[0][0]], len(videos[offer[0][0]]))
            chosen.add(min(others, key=lambda video: num_utterances[video]))
    split = Split(
        train=sorted(name for name in names if name.video not in chosen),
        val=sorted(name for name in names if name.video in chosen),
    )
    for set_name, utterances in (("validation", split.val), ("training", split.train)):
        if not utterances:
            raise ValueError(
                f"with --val_split_mode {options.val_split_mode}, "
                f"{count(len(videos), 'speaker')} are too few to leave utterances for "
                f"{set_name}; use more speakers or the other mode."
            )
    return split


def _offer_videos(
    videos: Mapping[str, list[Video]],
    *,
    mode: ValSplitMode,
    sexes: Mapping[str, Sex],
    rng: random.Random,
) -> Iterator[list[Video]]:
    """Yield the videos of one speaker after another that may validate."""

    def alternate(speakers: list[str]) -> list[str]:
        """Return them in a random order in which the sexes alternate as long as both last."""
        shuffled = rng.sample(speakers, len(speakers))
        by_sex = [[speaker for speaker in shuffled if sexes[speaker] == sex] for sex in ("f", "m")]
        return [speaker for pair in zip_longest(*by_sex) for speaker in pair if speaker is not None]

    if mode == "equal":
        for speaker in alternate([each for each in videos if len(videos[each]) > 2]):
            yield rng.sample(videos[speaker], 2)
        for speaker in alternate([each for each in videos if len(videos[each]) == 2]):
            yield rng.sample(videos[speaker], 1)
    else:
        # All speakers but one, those with two or more videos first.
        order = sorted(alternate(list(videos)), key=lambda speaker: len(videos[speaker]) < 2)
        for speaker in order[:-1]:
            yield videos[speaker]


def check_no_leakage(
    split: Split, *, tests: Mapping[str, Collection[UtteranceName]], val_split_mode: ValSplitMode
) -> None:
    """Raise ValueError where two sets share an utterance or, where they must not, a speaker.

    `tests` are the utterances of each test list; those may overlap each other.
    """
    sets: dict[str, Collection[UtteranceName]] = {"train": split.train, "val": split.val, **tests}
    for first, second in (("train", "val"), *product(("train", "val"), tests)):
        names, others = set(sets[first]), set(sets[second])
        keys = names & others
        speakers = {name.speaker_id for name in names} & {name.speaker_id for name in others}
        may_share_speakers = second == "val" and val_split_mode == "equal"
        if keys or (speakers and not may_share_speakers):
            shared = min(keys).key if keys else min(speakers)
            raise ValueError(
                f"{first} and {second} share {shared} ({count(len(keys), 'utterance')} and "
                f"{count(len(speakers), 'speaker')} in all); they must not overlap, so nothing "
                "is written: use the official archives and lists."
            )
