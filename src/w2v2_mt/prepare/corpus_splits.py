"""The split of recordings into training, validation and test sets, without leakage.

Recordings that must not be in two sets form a group: those of one speaker, of one session or of one
file. Segments of one file are never separated.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from w2v2_mt.core.units import count
from w2v2_mt.manifests.recordings import Recording, Sex, SplitName
from w2v2_mt.prepare.corpus_options import SplitBy

SETS: tuple[SplitName, ...] = get_args(SplitName)
NUM_COMPARED_SPEAKERS = 2
"""The speakers of an evaluation set, at least, who have two utterances or more, for its trials."""

Speaker = tuple[Sex | None, str]


class TooFewGroupsError(ValueError):
    """A corpus is too small to be split by the given rules."""


@dataclass
class Group:
    """Recordings that must be in one set, by their places in the list of all."""

    places: list[int] = field(default_factory=list)
    num_transcribed: int = 0
    num_of_speaker: Counter[Speaker] = field(default_factory=Counter)

    def add(self, place: int, recording: Recording) -> None:
        """Add the recording at a place."""
        self.places.append(place)
        self.num_transcribed += recording.text is not None
        if recording.speaker is not None:
            self.num_of_speaker[recording.sex, recording.speaker] += 1

    @property
    def compared_speakers(self) -> list[Speaker]:
        """Return the speakers who have two utterances or more, so that there are target trials."""
        return [speaker for speaker, number in self.num_of_speaker.items() if number > 1]


@dataclass(frozen=True, kw_only=True)
class SplitRules:
    """The rules of a split.

    Args:
        split_by: What must not be in two sets. A recording without a speaker is grouped by its
            session, one without a session by its file. Two speakers may have sessions of one name.
        val_fraction: The share of the recordings that validate, at least.
        test_fraction: The share of the recordings that test, at least.
        recognises_speech: Each set needs a transcript.
        recognises_speakers: Validation and test need two speakers with two utterances each, of the
            same sex where possible, and training needs two speakers.
    """

    split_by: SplitBy
    val_fraction: float
    test_fraction: float
    recognises_speech: bool
    recognises_speakers: bool
    seed: int


def split_recordings(recordings: Sequence[Recording], rules: SplitRules) -> list[Recording]:
    """Return the recordings with the set of each.

    Sets that recordings name stay. A recording without a set is in that of its group, or else
    trains. A validation or test set that no recording names is taken from the groups that would
    train, in a drawn order. No such set takes a group that holds more than half of them, nor more
    than a third of the groups if two are enough for it.

    Raises:
        ValueError: A group is in two sets.
        TooFewGroupsError: There are too few groups.
    """
    groups: dict[str, Group] = defaultdict(Group)
    for place, name in enumerate(group_names(recordings, rules.split_by)):
        groups[name].add(place, recordings[place])
    sets = _given_sets(recordings, groups, rules.split_by)
    pool = sorted(name for name in groups if sets.get(name, "train") == "train")
    pool = random.Random(f"{rules.seed} corpus split").sample(pool, len(pool))
    max_places = sum(len(groups[name].places) for name in pool) // 2
    max_num_groups = max(NUM_COMPARED_SPEAKERS, len(pool) // len(SETS))
    fractions: dict[SplitName, float] = {"val": rules.val_fraction, "test": rules.test_fraction}
    for name, fraction in fractions.items():
        if name not in sets.values():
            offered = {
                each: groups[each]
                for each in pool
                if sets.get(each, "train") == "train" and len(groups[each].places) <= max_places
            }
            chosen = _choose(offered, list(groups.values()), fraction, max_num_groups, rules)
            sets.update(dict.fromkeys(chosen, name))
    result = list(recordings)
    for name, group in groups.items():
        split = sets.get(name, "train")
        for place in group.places:
            if result[place].split != split:
                result[place] = replace(result[place], split=split)
    _check_sizes(result, rules)
    return result


def group_names(recordings: Sequence[Recording], split_by: SplitBy) -> list[str]:
    """Return the name of the group of each recording, such as `speaker anna`.

    Groups with segments of one file are one group, with the name that comes first in the alphabet.
    """
    names = [_name(each, split_by) for each in recordings]
    joined: dict[str, str] = {}
    first_of_file: dict[str, str] = {}

    def find(name: str) -> str:
        root = name
        while root in joined:
            root = joined[root]
        while name != root:  # shorten the way for the next time
            joined[name], name = root, joined[name]
        return root

    for each, name in zip(recordings, names, strict=True):
        if each.is_segment:
            other = find(first_of_file.setdefault(each.path, name))
            if other != find(name):
                joined[max(other, find(name))] = min(other, find(name))
    return [find(name) for name in names]


def _name(recording: Recording, split_by: SplitBy, quote: Callable[[str], str] = str) -> str:
    if split_by == "speaker" and recording.speaker is not None:
        return f"speaker {quote(recording.speaker)}"
    if split_by != "file" and recording.session is not None:
        speaker = recording.speaker
        of_speaker = "" if speaker is None else f" of speaker {quote(speaker)}"
        return f"session {quote(recording.session)}{of_speaker}"
    return f"file {quote(recording.path)}"


def _given_sets(
    recordings: Sequence[Recording], groups: Mapping[str, Group], split_by: SplitBy
) -> dict[str, SplitName]:
    """Return the set of each group that has one; raise ValueError for a group in two sets."""
    sets: dict[str, SplitName] = {}
    leaks: list[str] = []
    for name, group in groups.items():
        named = [recordings[place] for place in group.places if recordings[place].split]
        lines = {each.split: each.line for each in reversed(named)}
        if len(lines) > 1:
            places = " and ".join(f"{lines[each]} ({each})" for each in SETS if each in lines)
            quoted = next(
                _name(each, split_by, repr)
                for each in map(recordings.__getitem__, group.places)
                if _name(each, split_by) == name
            )
            leaks.append(f"{quoted} is in {count(len(lines), 'set')}: {places}")
        for each in named[:1]:
            assert each.split is not None
            sets[name] = each.split
    if leaks:
        further = ""
        if split_by != "file":
            further = ", or pass --split_by file, which allows it for speech recognition alone"
        raise ValueError(
            f"{leaks[0]}. Sets must not share a {split_by} ({count(len(leaks), 'such case')}). "
            "Correct the sets, or leave them out to have the recordings split"
            f"{further}."
        )
    return sets


def _choose(
    offered: Mapping[str, Group],
    groups: Sequence[Group],
    fraction: float,
    max_num_groups: int,
    rules: SplitRules,
) -> list[str]:
    """Return the names of the groups for a set that gets a fraction of all groups' recordings."""
    chosen = _first_to_compare(offered) if rules.recognises_speakers else []
    num_left = fraction * sum(len(each.places) for each in groups)
    num_transcribed_left = fraction * sum(each.num_transcribed for each in groups)
    for name in (*chosen, *(name for name in offered if name not in chosen)):
        group = offered[name]
        helps_speech = num_transcribed_left > 0 and group.num_transcribed > 0
        if name not in chosen:
            if len(chosen) >= max_num_groups or not (num_left > 0 or helps_speech):
                continue
            chosen.append(name)
        num_left -= len(group.places)
        num_transcribed_left -= group.num_transcribed
    return chosen


def _first_to_compare(offered: Mapping[str, Group]) -> list[str]:
    """Return the first groups with two speakers of one sex, or else of any, who can be compared."""
    of_sex: dict[Sex | None, list[str]] = defaultdict(list)
    for name, group in offered.items():
        for sex, _ in group.compared_speakers:
            of_sex[sex].append(name)
            if len(of_sex[sex]) == NUM_COMPARED_SPEAKERS:
                return list(dict.fromkeys(of_sex[sex]))
    return [name for names in of_sex.values() for name in names][:NUM_COMPARED_SPEAKERS]


def _check_sizes(recordings: Iterable[Recording], rules: SplitRules) -> None:
    by_set: dict[SplitName, Group] = {name: Group() for name in SETS}
    for place, each in enumerate(recordings):
        assert each.split is not None
        by_set[each.split].add(place, each)
    problems = []
    for name, group in by_set.items():
        compared = group.num_of_speaker if name == "train" else group.compared_speakers
        if not group.places:
            problems.append(f"{name} has no recording")
        elif rules.recognises_speech and group.num_transcribed == 0:
            problems.append(f"{name} has no transcript")
        elif rules.recognises_speakers and len(compared) < NUM_COMPARED_SPEAKERS:
            who = "speakers" if name == "train" else "speakers with two recordings or more"
            problems.append(f"{name} has {len(compared)} of {NUM_COMPARED_SPEAKERS} {who}")
    if problems:
        raise TooFewGroupsError(
            f"with sets that do not share a {rules.split_by}, {' and '.join(problems)}"
        )
