from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2v2_mt.manifests.recordings import Recording
from w2v2_mt.prepare.corpus_splits import (
    SETS,
    SplitRules,
    TooFewGroupsError,
    group_names,
    split_recordings,
)

RULES = SplitRules(
    split_by="speaker",
    val_fraction=0.1,
    test_fraction=0.1,
    recognises_speech=True,
    recognises_speakers=True,
    seed=1,
)


def recordings_of(speaker: str | None, num: int, **labels) -> list[Recording]:
    sexes = {"f": "f", "m": "m"}
    return [
        Recording(
            **{
                "key": f"{speaker}/{labels.get('session')}/{number}",
                "path": f"{speaker}/{labels.get('session')}/{number}.wav",
                "line": f"mine.csv, line {number + 2}",
                "text": "YES",
                "speaker": speaker,
                "sex": sexes.get((speaker or "x")[0]),
                **labels,
            }
        )
        for number in range(num)
    ]


def corpus(*speakers: str, num_each: int = 5) -> list[Recording]:
    return [each for speaker in speakers for each in recordings_of(speaker, num_each)]


def speakers_of(split: Sequence[Recording]) -> dict[str, set[str]]:
    return {name: {str(each.speaker) for each in split if each.split == name} for name in SETS}


def test_no_speaker_is_in_two_sets_and_the_sets_have_their_shares() -> None:
    names = [f"{'fm'[number % 2]}{number}" for number in range(100)]
    split = split_recordings(corpus(*names), RULES)
    sizes = Counter(each.split for each in split)
    assert sizes == {"train": 400, "val": 50, "test": 50}
    sets = speakers_of(split)
    assert sum(map(len, sets.values())) == len(names)
    assert [each.key for each in split] == [each.key for each in corpus(*names)]


def test_six_speakers_are_enough_and_those_of_an_evaluation_have_one_sex() -> None:
    sets = speakers_of(split_recordings(corpus("f0", "f1", "f2", "m0", "m1", "m2"), RULES))
    assert [len(each) for each in sets.values()] == [2, 2, 2]
    assert {len({name[0] for name in sets[each]}) for each in ("val", "test")} == {1}


def test_speakers_with_one_recording_do_not_evaluate() -> None:
    names = [f"f{number}" for number in range(6)]
    once = [f"f{number}" for number in range(6, 40)]
    split = split_recordings(corpus(*names) + corpus(*once, num_each=1), RULES)
    for name in ("val", "test"):
        counts = Counter(each.speaker for each in split if each.split == name)
        assert sum(number > 1 for number in counts.values()) >= 2


def test_a_speaker_with_most_recordings_trains() -> None:
    names = [f"f{number}" for number in range(6)]
    split = split_recordings(corpus(*names) + recordings_of("big", 500), RULES)
    assert "big" in speakers_of(split)["train"]


def test_the_seed_decides_and_not_the_order() -> None:
    names = [f"f{number}" for number in range(30)]
    first = split_recordings(corpus(*names), RULES)
    other = split_recordings(corpus(*names[::-1]), RULES)
    assert speakers_of(first) == speakers_of(other)
    assert speakers_of(first) != speakers_of(
        split_recordings(corpus(*names), replace(RULES, seed=2))
    )


def test_given_sets_stay_and_missing_ones_are_taken_from_training() -> None:
    names = [f"f{number}" for number in range(20)]
    given_sets = {**dict.fromkeys(names, "train"), "f0": "test", "f1": "test"}
    given_recordings = [
        replace(each, split=given_sets[str(each.speaker)]) for each in corpus(*names)
    ]
    sets = speakers_of(split_recordings(given_recordings, RULES))
    assert sets["test"] == {"f0", "f1"}
    assert len(sets["val"]) == 2
    assert len(sets["train"]) == 16


def test_a_recording_without_a_set_follows_its_speaker() -> None:
    names = [f"f{number}" for number in range(8)]
    recordings = corpus(*names)
    marked = {"f0": "val", "f1": "val", "f2": "test", "f3": "test"}
    for place, each in enumerate(recordings):
        if each.key.endswith("/0"):
            recordings[place] = replace(each, split=marked.get(str(each.speaker)))
    sets = speakers_of(split_recordings(recordings, RULES))
    assert (sets["val"], sets["test"]) == ({"f0", "f1"}, {"f2", "f3"})


def test_a_speaker_in_two_given_sets_is_refused_with_both_lines() -> None:
    recordings = corpus(*[f"f{number}" for number in range(6)])
    recordings[3] = replace(recordings[3], split="test")
    recordings[4] = replace(recordings[4], split="train")
    with pytest.raises(
        ValueError,
        match=r"speaker 'f0' is in 2 sets: mine.csv, line 6 .train. and mine.csv, line 5 .test.\. "
        "Sets must not share a speaker .1 such case.. Correct the sets, or .* --split_by file, "
        "which allows it for speech recognition alone",
    ):
        split_recordings(recordings, RULES)


def test_without_speakers_sessions_and_then_files_are_kept_together() -> None:
    recordings = [
        each for session in range(10) for each in recordings_of(None, 4, session=f"call{session}")
    ]
    recordings += recordings_of(None, 3)
    names = group_names(recordings, "speaker")
    assert Counter(names) == {
        **{f"session call{session}": 4 for session in range(10)},
        **{f"file None/None/{number}.wav": 1 for number in range(3)},
    }
    split = split_recordings(recordings, replace(RULES, recognises_speakers=False))
    for session in range(10):
        assert len({each.split for each in split if each.session == f"call{session}"}) == 1


def test_sessions_of_one_name_are_those_of_their_speakers() -> None:
    recordings = recordings_of("a", 2, session="1") + recordings_of("b", 2, session="1")
    assert set(group_names(recordings, "session")) == {
        "session 1 of speaker a",
        "session 1 of speaker b",
    }


def test_segments_of_one_file_are_never_separated() -> None:
    def call(number: int, *speakers: str) -> list[Recording]:
        return [
            replace(
                each,
                key=f"call{number}/{speaker}{each.key}",
                path=f"call{number}.wav",
                start_sec=1.0,
            )
            for speaker in speakers
            for each in recordings_of(speaker, 2)
        ]

    recordings = call(0, "b", "c") + call(1, "c", "a") + call(2, "d", "e") + call(3, "f", "e")
    assert list(dict.fromkeys(group_names(recordings, "speaker"))) == ["speaker a", "speaker d"]
    assert len(set(group_names(recordings, "file"))) == 4
    plain = [replace(each, start_sec=None) for each in recordings]
    assert len(set(group_names(plain, "speaker"))) == 6


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("f0", "f1", "f2", "f3", "f4"), "do not share a speaker, train has 1 of 2 speakers$"),
        (("f0", "f1", "f2"), "train has no recording and test has 1 of 2 speakers with two"),
        (("f0", "f1"), "train has no recording and test has no recording"),
    ],
)
def test_too_few_speakers_are_counted(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(TooFewGroupsError, match=message):
        split_recordings(corpus(*names), RULES)


def test_each_set_has_a_transcript() -> None:
    recordings = [replace(each, text=None) for each in corpus(*[f"f{n}" for n in range(20)])]
    with pytest.raises(TooFewGroupsError, match="train has no transcript"):
        split_recordings(recordings, RULES)
    spoken = corpus("m0", "m1", "m2", "m3")
    split = split_recordings(recordings + spoken, RULES)
    assert {each.split for each in split if each.text} == {"train", "val", "test"}


@settings(max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=8, max_size=30),
    val_fraction=st.floats(0.01, 0.4),
    test_fraction=st.floats(0.01, 0.4),
    seed=st.integers(),
)
def test_any_corpus_is_split_without_leakage_or_refused(
    sizes: list[int], val_fraction: float, test_fraction: float, seed: int
) -> None:
    recordings = [
        each
        for number, size in enumerate(sizes)
        for each in recordings_of(f"{'fm'[number % 2]}{number}", size)
    ]
    rules = replace(RULES, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)
    try:
        sets = speakers_of(split_recordings(recordings, rules))
    except TooFewGroupsError:
        assert sum(size > 1 for size in sizes) < 6
        return
    assert sum(map(len, sets.values())) == len(sizes)
    assert len(sets["train"]) >= 2
