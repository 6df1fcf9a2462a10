from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from w2v2_mt.manifests.recordings import Sex
from w2v2_mt.prepare.options import VoxCelebOptions
from w2v2_mt.prepare.splits import Split, check_no_leakage, split_utterances
from w2v2_mt.prepare.voxceleb_utterances import UtteranceName


def corpus(num_videos: dict[str, int], *, num_per_video: int = 3) -> list[UtteranceName]:
    return [
        UtteranceName(speaker, f"video{video}", f"{number:05d}")
        for speaker, videos in num_videos.items()
        for video in range(videos)
        for number in range(num_per_video)
    ]


def alternating_sexes(speakers: list[str]) -> dict[str, Sex]:
    return {speaker: "f" if index % 2 else "m" for index, speaker in enumerate(speakers)}


def split(names: list[UtteranceName], **changes) -> Split:
    sexes = changes.pop("sexes", alternating_sexes(sorted({name.speaker_id for name in names})))
    options = VoxCelebOptions(data_folder=Path(), **({"seed": 1} | changes))
    return split_utterances(names, sexes=sexes, options=options)


SPEAKERS = [f"id{number:05d}" for number in range(300)]


def test_a_large_corpus_gives_one_per_cent_in_pairs_of_videos_and_one_of_every_other_speaker() -> (
    None
):
    # Each speaker has a video of one utterance and 20 of five.
    names = corpus(dict.fromkeys(SPEAKERS, 20), num_per_video=5)
    names += [UtteranceName(speaker, "small", "00000") for speaker in SPEAKERS]
    result = split(names)
    assert result.train_speakers == SPEAKERS
    assert set(result.train) | set(result.val) == set(names)
    videos = {name.video for name in result.val}
    num_videos = Counter(speaker for speaker, _ in videos)
    assert sorted(num_videos) == SPEAKERS
    pairs = {speaker for speaker, number in num_videos.items() if number == 2}
    num_in_pairs = sum(name.speaker_id in pairs for name in result.val)
    assert 0.01 * len(names) <= num_in_pairs < 0.01 * len(names) + 20
    sexes = alternating_sexes(SPEAKERS)
    of_sex = Counter(sexes[speaker] for speaker in pairs)
    assert abs(of_sex["f"] - of_sex["m"]) <= 1
    others = {video for video in videos if video[0] not in pairs}
    assert others == {(speaker, "small") for speaker in SPEAKERS if speaker not in pairs}


def test_a_small_corpus_gives_two_videos_of_two_speakers_of_each_sex() -> None:
    names = corpus(dict.fromkeys(SPEAKERS[:10], 3))
    result = split(names)
    sexes = alternating_sexes(SPEAKERS)
    num_videos = Counter(speaker for speaker, _ in {name.video for name in result.val})
    pairs = [speaker for speaker, number in num_videos.items() if number == 2]
    assert Counter(sexes[speaker] for speaker in pairs) == {"f": 2, "m": 2}
    assert Counter(num_videos.values()) == {2: 4, 1: 6}


def test_a_speaker_with_two_videos_gives_one_and_a_speaker_with_one_gives_none() -> None:
    names = corpus({"id1": 2, "id2": 2, "id3": 1, "id4": 1})
    result = split(names, val_fraction=0.9)
    assert {name.speaker_id for name in result.val} == {"id1", "id2"}
    assert len({name.video for name in result.val}) == 2
    assert result.train_speakers == ["id1", "id2", "id3", "id4"]


def test_different_speakers_validate_as_a_whole() -> None:
    names = corpus(dict.fromkeys(SPEAKERS[:10], 3))
    result = split(names, val_split_mode="different", val_fraction=0.5)
    val_speakers = {name.speaker_id for name in result.val}
    assert len(result.val) == 45
    assert val_speakers.isdisjoint(result.train_speakers)
    assert len(val_speakers) + len(result.train_speakers) == 10


def test_the_seed_and_not_the_order_decides() -> None:
    names = corpus(dict.fromkeys(SPEAKERS[:30], 5))
    assert split(names) == split(names[::-1])
    assert split(names) != split(names, seed=2)


@settings(max_examples=50)
@given(
    num_videos=st.lists(st.integers(1, 5), min_size=4, max_size=12),
    val_fraction=st.floats(0.01, 0.9),
    seed=st.integers(),
)
def test_equal_validation_takes_whole_videos_and_leaves_every_speaker_in_training(
    num_videos: list[int], val_fraction: float, seed: int
) -> None:
    names = corpus({**dict(zip(SPEAKERS, num_videos, strict=False)), "id9": 3, "id10": 2})
    result = split(names, val_fraction=val_fraction, seed=seed)
    assert sorted(result.train + result.val) == sorted(names)
    assert {name.video for name in result.val}.isdisjoint(name.video for name in result.train)
    assert result.train_speakers == sorted({name.speaker_id for name in names})


@pytest.mark.parametrize(
    ("mode", "num_videos"), [("equal", {"id1": 1, "id2": 1}), ("different", {"id1": 4})]
)
def test_too_few_videos_or_speakers_are_refused(mode: str, num_videos: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="too few to leave utterances for validation"):
        split(corpus(num_videos), val_split_mode=mode)


def test_a_speaker_without_a_sex_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="meta file does not name the speaker id2"):
        split(corpus({"id1": 3, "id2": 3}), sexes={"id1": "m"})


def test_leakage_is_found() -> None:
    names = corpus({"id1": 2, "id2": 1, "id3": 1})

    def check(train: list, val: list, test: list, mode: str = "equal") -> None:
        check_no_leakage(
            Split(train=train, val=val), tests={"o": [], "e": test}, val_split_mode=mode
        )

    check(names[:3], names[3:6], names[9:])
    with pytest.raises(ValueError, match="train and val share id1 .0 utterances and 1 speaker"):
        check(names[:3], names[3:6], names[9:], mode="different")
    with pytest.raises(ValueError, match="train and val share id1/video0/00002"):
        check(names[:3], names[2:6], names[9:])
    with pytest.raises(ValueError, match="val and e share id1 "):
        check(names[6:9], names[3:6], names[:3])
    with pytest.raises(ValueError, match="train and e share id3"):
        check(names[:3] + names[10:11], names[3:6], names[11:])
