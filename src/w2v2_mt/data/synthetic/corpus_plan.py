"""Who says what in the synthetic corpus, and where it lies: decided before a sound is made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, count, islice

import numpy as np

from w2v2_mt.core.trials import Trial
from w2v2_mt.data.synthetic.corpus_sizes import CorpusSizes
from w2v2_mt.data.synthetic.phonemes import WORDS
from w2v2_mt.data.synthetic.voices import Recording, Voice, draw_recording, draw_voices

TRAIN_SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500")
TEST_SUBSETS = ("dev-clean", "dev-other", "test-clean", "test-other")

_NUM_WORDS_OF_A_READER = (2, 4)
_NUM_WORDS_IN_A_VIDEO = (3, 4)

_SIGNAL_TO_NOISE_DB = {"clean": (28.0, 38.0), "other": (18.0, 24.0), "video": (20.0, 34.0)}

_FIRST_READER = 101
_FIRST_CHAPTER = 1001
_FIRST_SPEAKER = 10001
_TEST_SPEAKERS = range(10270, 10310)
_VIDEO_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SAME_SEX_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class PlannedUtterance:
    """One file of the corpus; a recording is a chapter or a video, `seed` is for its own noise."""

    speaker_id: str
    recording_id: str
    number: int
    words: tuple[str, ...]
    voice: Voice
    recording: Recording
    seed: tuple[int, ...]

    @property
    def key(self) -> str:
        return f"{self.speaker_id}/{self.recording_id}/{self.number:05d}"


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """Everything that is to be written; the sets share no voice."""

    readers: dict[str, list[PlannedUtterance]]
    vox1_dev: list[PlannedUtterance]
    vox1_test: list[PlannedUtterance]
    trials: list[Trial]


def _seed(seed: int, *names: str) -> tuple[int, ...]:
    return (seed, *"/".join(names).encode())


def _seeded(seed: int, *names: str) -> np.random.Generator:
    """Random numbers that belong to a name, whatever else is drawn."""
    return np.random.default_rng(np.random.SeedSequence(_seed(seed, *names)))


def _planned(
    seed: int,
    *,
    set_name: str,
    recordings: Mapping[str, Sequence[str]],
    first_number: int,
    num_utterances: int,
    num_words: tuple[int, int],
    signal_to_noise_db: tuple[float, float],
) -> list[PlannedUtterance]:
    """The utterances of one set, from the recordings of each speaker."""
    voices = draw_voices(len(recordings), _seeded(seed, set_name))
    planned = []
    for (speaker_id, recording_ids), voice in zip(recordings.items(), voices, strict=True):
        for recording_id in recording_ids:
            random = _seeded(seed, speaker_id, recording_id)
            recording = draw_recording(random, signal_to_noise_db=signal_to_noise_db)
            planned += [
                PlannedUtterance(
                    speaker_id=speaker_id,
                    recording_id=recording_id,
                    number=number,
                    words=_words(random, num_words),
                    voice=voice,
                    recording=recording,
                    seed=_seed(seed, speaker_id, recording_id, str(number)),
                )
                for number in range(first_number, first_number + num_utterances)
            ]
    return planned


def _words(random: np.random.Generator, num_words: tuple[int, int]) -> tuple[str, ...]:
    fewest, most = num_words
    chosen = random.choice(list(WORDS), size=random.integers(fewest, most + 1), replace=False)
    return tuple(str(word) for word in chosen)


def _planned_readers(seed: int, sizes: CorpusSizes) -> dict[str, list[PlannedUtterance]]:
    planned = {}
    next_reader = 0
    for subset in (*TRAIN_SUBSETS, *TEST_SUBSETS):
        is_train = subset in TRAIN_SUBSETS
        num_readers = sizes.num_train_readers if is_train else sizes.num_test_readers
        numbers = range(next_reader, next_reader := next_reader + num_readers)
        planned[subset] = _planned(
            seed,
            set_name=subset,
            recordings={
                str(_FIRST_READER + number): [
                    str(_FIRST_CHAPTER + 2 * number + chapter) for chapter in range(2)
                ]
                for number in numbers
            },
            first_number=0,
            num_utterances=(
                sizes.num_utterances_per_train_chapter
                if is_train
                else sizes.num_utterances_per_test_chapter
            ),
            num_words=_NUM_WORDS_OF_A_READER,
            signal_to_noise_db=_SIGNAL_TO_NOISE_DB["other" if "other" in subset else "clean"],
        )
    return planned


def _planned_videos(
    seed: int, *, set_name: str, num_videos: Mapping[int, int], num_utterances: int
) -> list[PlannedUtterance]:
    def video(speaker: int, index: int) -> str:
        letters = _seeded(seed, set_name, str(speaker), str(index)).choice(list(_VIDEO_LETTERS), 11)
        return "".join(letters)

    return _planned(
        seed,
        set_name=set_name,
        recordings={
            f"id{speaker}": [video(speaker, index) for index in range(number)]
            for speaker, number in num_videos.items()
        },
        first_number=1,
        num_utterances=num_utterances,
        num_words=_NUM_WORDS_IN_A_VIDEO,
        signal_to_noise_db=_SIGNAL_TO_NOISE_DB["video"],
    )


def _drawn_trials(
    utterances: Sequence[PlannedUtterance], *, num_each: int, random: np.random.Generator
) -> list[Trial]:
    """As many trials of one speaker, across videos, as of two, mostly of the same sex; shuffled."""
    same_speaker, same_sex, other_sex = [], [], []
    for left, right in combinations(utterances, 2):
        if left.speaker_id == right.speaker_id:
            if left.recording_id != right.recording_id:
                same_speaker.append((left, right))
        elif left.voice.sex == right.voice.sex:
            same_sex.append((left, right))
        else:
            other_sex.append((left, right))
    num_same_sex = min(len(same_sex), round(_SAME_SEX_SHARE * num_each))
    wanted = (
        (same_speaker, num_each, "of one speaker"),
        (same_sex, num_same_sex, "of one sex"),
        (other_sex, num_each - num_same_sex, "of two sexes"),
    )
    trials = []
    for pairs, number, kind in wanted:
        if len(pairs) < number:
            raise ValueError(
                f"num_trials_each is {num_each}, but the test speakers make only {len(pairs)} of "
                f"the {number} pairs {kind}; ask for fewer trials or for more test utterances."
            )
        trials += [
            Trial(same_speaker=pairs is same_speaker, left_key=left.key, right_key=right.key)
            for left, right in (
                pairs[index] for index in random.choice(len(pairs), size=number, replace=False)
            )
        ]
    return [trials[index] for index in random.permutation(len(trials))]


def plan_corpus(seed: int, sizes: CorpusSizes) -> CorpusPlan:
    """Draw voices, recordings, words and trials; the keys of the trials are those of files.

    Raises ValueError for a negative seed, and when the test speakers are too few for the trials or
    too many for their ids.
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}, but must not be negative; give 0 or more.")
    if sizes.num_test_speakers > len(_TEST_SPEAKERS):
        raise ValueError(
            f"num_test_speakers is {sizes.num_test_speakers}, but VoxCeleb1 has ids for "
            f"{len(_TEST_SPEAKERS)}; give fewer."
        )
    ids = (number for number in count(_FIRST_SPEAKER) if number not in _TEST_SPEAKERS)
    vox1_test = _planned_videos(
        seed,
        set_name="vox1_test",
        num_videos=dict.fromkeys(_TEST_SPEAKERS[: sizes.num_test_speakers], 2),
        num_utterances=sizes.num_utterances_per_test_video,
    )
    return CorpusPlan(
        readers=_planned_readers(seed, sizes),
        vox1_dev=_planned_videos(
            seed,
            set_name="vox1_dev",
            num_videos={
                speaker: 2 + index % 2
                for index, speaker in enumerate(islice(ids, sizes.num_dev_speakers))
            },
            num_utterances=sizes.num_utterances_per_dev_video,
        ),
        vox1_test=vox1_test,
        trials=_drawn_trials(
            vox1_test, num_each=sizes.num_trials_each, random=_seeded(seed, "veri_test2")
        ),
    )
