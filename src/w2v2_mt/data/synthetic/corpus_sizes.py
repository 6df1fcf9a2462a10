"""How large the synthetic corpus is."""

from dataclasses import dataclass, fields

from w2v2_mt.core.constraints import PositiveInt


@dataclass(frozen=True, kw_only=True)
class CorpusSizes:
    """How much of each there is. Every number is at least 1, or ValueError.

    Readers are counted in each of the three train subsets and in each of the four others, where
    every reader has two chapters. A vox1 dev speaker has 2 or 3 videos in turn, a test speaker 2;
    `num_trials_each` is the number of trials of one speaker, and that of trials of two.
    """

    num_train_readers: PositiveInt
    num_utterances_per_train_chapter: PositiveInt
    num_test_readers: PositiveInt
    num_utterances_per_test_chapter: PositiveInt
    num_dev_speakers: PositiveInt
    num_utterances_per_dev_video: PositiveInt
    num_test_speakers: PositiveInt
    num_utterances_per_test_video: PositiveInt
    num_trials_each: PositiveInt

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value < 1:
                raise ValueError(f"{field.name} is {value}, but must be at least 1; give more.")


DEMO = CorpusSizes(
    num_train_readers=24,
    num_utterances_per_train_chapter=10,
    num_test_readers=7,
    num_utterances_per_test_chapter=6,
    num_dev_speakers=120,
    num_utterances_per_dev_video=4,
    num_test_speakers=24,
    num_utterances_per_test_video=5,
    num_trials_each=500,
)
"""Enough for a small network to recognise unseen voices."""

TINY = CorpusSizes(
    num_train_readers=2,
    num_utterances_per_train_chapter=3,
    num_test_readers=2,
    num_utterances_per_test_chapter=2,
    num_dev_speakers=4,
    num_utterances_per_dev_video=2,
    num_test_speakers=4,
    num_utterances_per_test_video=2,
    num_trials_each=10,
)
"""Enough to see that everything is in its place."""
