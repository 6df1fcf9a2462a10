"""The plan of the synthetic corpus: speakers, texts and places, decided before synthesis."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, count, islice

import numpy as np

from w2v2_mt.core.constraints import PositiveInt
from w2v2_mt.core.trials import Trial
from w2v2_mt.synthetic.phonemes import WORDS
from w2v2_mt.synthetic.voices import Recording, Voice, draw_recording, draw_voices

TRAIN_SUBSETS = ("train-clean-100", "train-clean-360", "train-other-500")
TEST_SUBSETS = ("dev-clean", "dev-other", "test-clean", "test-other")

_SIGNAL_TO_NOISE_DB = {"clean": (28.0, 38.0), "other": (18.0, 24.0), "video": (20.0, 34.0)}

_FIRST_READER = 101
_FIRST_CHAPTER = 1001
_FIRST_SPEAKER = 10001
_TEST_SPEAKERS = range(10270, 10310)
_VIDEO_CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
_SAME_SEX_SHARE = 0.9


@dataclass(frozen=True, kw_only=True)
class CorpusSizes:
    """The sizes of the parts of the corpus; by default, a small network learns unseen voices.

    Readers are counted in each of the three train subsets and in each of the four others, where
    every reader has two chapters. A vox1 dev speaker has 2 or 3 videos in turn, a test speaker 2;
    `num_trials_each` is the number of target trials, and that of non-target trials.
    """

    num_train_readers: PositiveInt = 24
    num_utterances_per_train_chapter: PositiveInt = 10
    num_test_readers: PositiveInt = 7
    num_utterances_per_test_chapter: PositiveInt = 6
    num_dev_speakers: PositiveInt = 120
    num_utterances_per_dev_video: PositiveInt = 4
    num_test_speakers: PositiveInt = 24
    num_utterances_per_test_video: PositiveInt = 5
    num_trials_each: PositiveInt = 500

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ValueError(f"{name} is {value}, but must be at least 1; give more.")


@dataclass(frozen=True, kw_only=True)
class PlannedUtterance:
    """A file of the corpus; a recording is a chapter or a video, `seed` is for its own noise."""

    speaker_id: str
    recording_id: str
    number: int
    words: tuple[str, ...]
    voice: Voice
    recording: Recording
    seed: tuple[int, ...]

    @property
    def key(self) -> str:
        """Return the key of the utterance."""
        return f"{self.speaker_id}/{self.recording_id}/{self.number:05d}"


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """The plan of all files; the sets share no voice."""

    readers: dict[str, list[PlannedUtterance]]
    vox1_dev: list[PlannedUtterance]
    vox1_test: list[PlannedUtterance]
    trials: list[Trial]


def _seed(seed: int, *names: str) -> tuple[int, ...]:
    """Return a seed for random numbers that depend on the corpus seed and a name only."""
    return (seed, *"/".join(names).encode())


def _plan_utterances(
    seed: int,
    set_name: str,
    recordings: Mapping[str, Sequence[str]],
    *,
    numbers: range,
    num_words: tuple[int, int],
    kind: str,
) -> list[PlannedUtterance]:
    """Plan the utterances of one set, from the ids of the recordings of each speaker."""
    voices = draw_voices(len(recordings), np.random.default_rng(_seed(seed, set_name)))
    planned = []
    for (speaker_id, recording_ids), voice in zip(recordings.items(), voices, strict=True):
        for recording_id in recording_ids:
            random = np.random.default_rng(_seed(seed, speaker_id, recording_id))
            recording = draw_recording(random, signal_to_noise_db=_SIGNAL_TO_NOISE_DB[kind])
            for number in numbers:
                length = random.integers(*num_words, endpoint=True)
                words = random.choice(list(WORDS), size=length, replace=False)
                utterance = PlannedUtterance(
                    speaker_id=speaker_id,
                    recording_id=recording_id,
                    number=number,
                    words=tuple(map(str, words)),
                    voice=voice,
                    recording=recording,
                    seed=_seed(seed, speaker_id, recording_id, str(number)),
                )
                planned.append(utterance)
    return planned


def _plan_readers(seed: int, sizes: CorpusSizes) -> dict[str, list[PlannedUtterance]]:
    planned = {}
    next_reader = 0
    for subset in (*TRAIN_SUBSETS, *TEST_SUBSETS):
        if subset in TRAIN_SUBSETS:
            num, num_utterances = sizes.num_train_readers, sizes.num_utterances_per_train_chapter
        else:
            num, num_utterances = sizes.num_test_readers, sizes.num_utterances_per_test_chapter
        chapters = {}
        for reader in range(next_reader, next_reader := next_reader + num):
            first = _FIRST_CHAPTER + 2 * reader
            chapters[str(_FIRST_READER + reader)] = [str(first), str(first + 1)]
        planned[subset] = _plan_utterances(
            seed,
            subset,
            chapters,
            numbers=range(num_utterances),
            num_words=(2, 4),
            kind="other" if "other" in subset else "clean",
        )
    return planned


def _plan_videos(
    seed: int, set_name: str, num_videos: Mapping[int, int], num_utterances: int
) -> list[PlannedUtterance]:
    videos = {}
    for speaker, num in num_videos.items():
        seeds = (_seed(seed, set_name, str(speaker), str(index)) for index in range(num))
        drawn = (np.random.default_rng(own).choice(list(_VIDEO_CHARACTERS), 11) for own in seeds)
        videos[f"id{speaker}"] = ["".join(characters) for characters in drawn]
    numbers = range(1, 1 + num_utterances)
    return _plan_utterances(seed, set_name, videos, numbers=numbers, num_words=(3, 4), kind="video")


def _draw_trials(
    utterances: Sequence[PlannedUtterance], *, num_each: int, random: np.random.Generator
) -> list[Trial]:
    """Draw as many target trials, across videos, as non-target trials, mostly of the same sex."""
    pairs: dict[str, list[Trial]] = {"one speaker": [], "one sex": [], "two sexes": []}
    for left, right in combinations(utterances, 2):
        is_target = left.speaker_id == right.speaker_id
        of_sexes = "one sex" if left.voice.sex == right.voice.sex else "two sexes"
        if not is_target or left.recording_id != right.recording_id:
            trial = Trial(same_speaker=is_target, left_key=left.key, right_key=right.key)
            pairs["one speaker" if is_target else of_sexes].append(trial)
    num_same_sex = min(len(pairs["one sex"]), round(_SAME_SEX_SHARE * num_each))
    numbers = (num_each, num_same_sex, num_each - num_same_sex)
    chosen: list[Trial] = []
    for (kind, trials), number in zip(pairs.items(), numbers, strict=True):
        if len(trials) < number:
            raise ValueError(
                f"num_trials_each is {num_each}, but the test speakers make too few pairs of "
                f"{kind} ({len(trials)} of {number}); ask for fewer trials or for more test "
                "utterances."
            )
        indices = random.choice(len(trials), size=number, replace=False)
        chosen += [trials[index] for index in indices]
    return [chosen[index] for index in random.permutation(len(chosen))]


def plan_corpus(seed: int, sizes: CorpusSizes) -> CorpusPlan:
    """Draw voices, recordings, words and trials; the keys of the trials are those of files.

    Raises:
        ValueError: The seed is negative, or the test speakers are too few for the trials or too
            many for their ids.
    """
    if seed < 0:
        raise ValueError(f"the seed is {seed}, but must not be negative; give 0 or more.")
    if sizes.num_test_speakers > len(_TEST_SPEAKERS):
        raise ValueError(
            f"num_test_speakers is {sizes.num_test_speakers}, but VoxCeleb1 has ids for "
            f"{len(_TEST_SPEAKERS)}; give fewer."
        )
    dev_ids = chain(range(_FIRST_SPEAKER, _TEST_SPEAKERS.start), count(_TEST_SPEAKERS.stop))
    dev_videos = {
        speaker: 2 + index % 2
        for index, speaker in enumerate(islice(dev_ids, sizes.num_dev_speakers))
    }
    test_videos = dict.fromkeys(_TEST_SPEAKERS[: sizes.num_test_speakers], 2)
    vox1_test = _plan_videos(seed, "vox1_test", test_videos, sizes.num_utterances_per_test_video)
    random = np.random.default_rng(_seed(seed, "veri_test2"))
    return CorpusPlan(
        readers=_plan_readers(seed, sizes),
        vox1_dev=_plan_videos(seed, "vox1_dev", dev_videos, sizes.num_utterances_per_dev_video),
        vox1_test=vox1_test,
        trials=_draw_trials(vox1_test, num_each=sizes.num_trials_each, random=random),
    )
