import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.trials import read_trials
from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.trials import (
    SpokenUtterance,
    make_trials,
    read_trial_list,
    write_trials,
)

SEXES: dict[str, Sex] = {"f1": "f", "f2": "f", "f3": "f", "m1": "m", "m2": "m"}


def utterances(speaker: str, *session_sizes: int) -> list[SpokenUtterance]:
    return [
        SpokenUtterance(speaker, f"session{session}", f"{speaker}/session{session}/{number:05d}")
        for session, size in enumerate(session_sizes)
        for number in range(size)
    ]


def draw(
    spoken: list[SpokenUtterance], *, num_trials: int, sexes: dict[str, Sex] = SEXES, seed: int = 1
) -> list[Trial]:
    return make_trials(
        spoken,
        sexes=sexes,
        num_trials=num_trials,
        seed=seed,
        set_name="validation set",
        remedy="use more speakers",
    )


def pair(trial: Trial) -> tuple[SpokenUtterance, SpokenUtterance]:
    left, right = (
        SpokenUtterance(key.split("/")[0], key.split("/")[1], key)
        for key in (trial.left_key, trial.right_key)
    )
    return left, right


def test_trials_are_balanced_different_and_of_one_sex() -> None:
    names = [name for speaker in SEXES for name in utterances(speaker, 8, 6, 4)]
    trials = draw(names, num_trials=400)
    assert Counter(trial.same_speaker for trial in trials) == {True: 200, False: 200}
    assert len({frozenset(pair(trial)) for trial in trials}) == 400
    for trial in trials:
        left, right = pair(trial)
        assert trial.same_speaker == (left.speaker == right.speaker)
        assert SEXES[left.speaker] == SEXES[right.speaker]
        if trial.same_speaker:
            assert left.session != right.session


def test_every_pair_is_drawn_when_all_are_asked_for() -> None:
    # Across sessions: 2 x 3 of f1 and 1 of f2, 7 in all; f1 against f2: 5 x 2 pairs.
    names = utterances("f1", 2, 3) + utterances("f2", 1, 1)
    trials = draw(names, num_trials=1000)
    assert Counter(trial.same_speaker for trial in trials) == {True: 7, False: 7}
    positives = {frozenset(pair(trial)) for trial in trials if trial.same_speaker}
    assert positives == {
        frozenset({left, right})
        for left in names
        for right in names
        if left.speaker == right.speaker and left.session < right.session
    }


def test_pairs_of_two_sessions_are_preferred_where_they_are_enough() -> None:
    names = utterances("f1", 4, 4) + utterances("f2", 6)
    trials = draw(names, num_trials=20)
    assert {pair(trial)[0].speaker for trial in trials if trial.same_speaker} == {"f1"}
    more = draw(names, num_trials=60)
    assert {pair(trial)[0].speaker for trial in more if trial.same_speaker} == {"f1", "f2"}


def test_a_speaker_with_one_session_is_paired_inside_it_but_never_with_the_same_file() -> None:
    names = utterances("m1", 3) + utterances("m2", 3)
    trials = draw(names, num_trials=1000)
    positives = {frozenset(pair(trial)) for trial in trials if trial.same_speaker}
    assert len(positives) == 6
    assert all(len(names) == 2 for names in positives)


def test_every_pair_is_equally_likely() -> None:
    names = utterances("f1", 2, 3) + utterances("f2", 4) + utterances("f3", 1)
    counts = Counter(
        frozenset(pair(trial))
        for seed in range(3000)
        for trial in draw(names, num_trials=2, seed=seed)
        if not trial.same_speaker
    )
    num_pairs = 5 * 4 + 5 * 1 + 4 * 1
    expected = 3000 / num_pairs
    chi_square = sum((count - expected) ** 2 / expected for count in counts.values())
    assert len(counts) == num_pairs
    assert chi_square < 56.9  # 28 degrees of freedom, p = 0.001


def test_the_seed_and_not_the_order_decides() -> None:
    names = [name for speaker in SEXES for name in utterances(speaker, 3, 3)]
    first = draw(names, num_trials=20)
    assert first == draw(names[::-1], num_trials=20)
    assert first != draw(names, num_trials=20, seed=2)


@pytest.mark.parametrize(
    "names",
    [utterances("m1", 1) + utterances("m2", 1), utterances("m1", 2, 2) + utterances("f1", 2, 2)],
    ids=["no positive", "no negative"],
)
def test_a_set_without_pairs_of_a_kind_is_refused(names: list[SpokenUtterance]) -> None:
    with pytest.raises(ValueError, match="the validation set \(2 speakers\) has no two"):
        draw(names, num_trials=10)


def test_speakers_of_unknown_sex_form_pairs_with_each_other() -> None:
    names = utterances("f1", 2) + utterances("x", 2) + utterances("y", 1) + utterances("m1", 1)
    negatives = [trial for trial in draw(names, num_trials=1000) if not trial.same_speaker]
    speakers = {frozenset(each.speaker for each in pair(trial)) for trial in negatives}
    assert speakers == {frozenset({"x", "y"})}


def test_written_trials_are_read_back(tmp_path: Path) -> None:
    trials = [Trial(True, "m1/a/1", "m1/b/2"), Trial(False, "m1/a/1", "m2/b/2")]
    write_trials(tmp_path / "val_trials.txt", trials)
    assert (tmp_path / "val_trials.txt").read_text() == "1 m1/a/1 m1/b/2\n0 m1/a/1 m2/b/2\n"
    assert read_trials(tmp_path / "val_trials.txt", producer="x") == trials


def test_a_large_set_takes_no_list_of_all_its_pairs() -> None:
    speakers = [f"f{number}" for number in range(2000)]
    names = [name for speaker in speakers for name in utterances(speaker, 2, 2)]
    tracemalloc.start()
    try:
        trials = draw(names, sexes=dict.fromkeys(speakers, "f"), num_trials=3000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len({frozenset(pair(trial)) for trial in trials}) == 3000
    # There are 2 million pairs of speakers and 32 million of utterances.
    assert peak_bytes < 10_000_000


@pytest.mark.parametrize("line", ["1 id1/v/1 id2/v/1", "0 id1/v/1 id1/w/1"])
def test_a_label_that_contradicts_its_keys_is_reported(tmp_path: Path, line: str) -> None:
    (tmp_path / "list.txt").write_text(f"1 id1/v/1 id1/v/2\n{line}\n")
    with pytest.raises(ValueError, match=f"list.txt has the trial '{line}', whose label says"):
        read_trial_list(tmp_path / "list.txt", limit=None)
