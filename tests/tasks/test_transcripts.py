import random

import pytest

from w2v2_mt.tasks.transcripts import (
    Transcript,
    group_by_duration,
    group_by_speaker,
    random_sample,
    worst,
)


def transcript(key, reference, hypothesis):
    return Transcript(key=key, reference=reference, hypothesis=hypothesis)


class TestWorst:
    def test_most_errors_come_first_then_the_shorter_reference(self):
        right = transcript("1", "A B", "A B")
        all_wrong = transcript("2", "A B", "C D")
        long = transcript("3", "A B C D E F", "A B C D")
        most = transcript("4", "A B C D E F", "A X Y Z")
        assert worst([right, long, all_wrong, most], 3) == [most, all_wrong, long]

    def test_all_where_there_are_fewer(self):
        one = transcript("1", "A", "B")
        assert worst([one], 5) == [one]
        assert worst([], 5) == []


class TestRandomSample:
    def test_keys_and_seed_decide_not_the_order(self):
        transcripts = [transcript(f"{number:03}", "A", "A") for number in range(100)]
        sample = random_sample(transcripts, 5, seed=0)
        assert random_sample(transcripts[::-1], 5, seed=0) == sample
        assert random_sample(transcripts, 5, seed=1) != sample
        assert [one.key for one in sample] == sorted({one.key for one in sample})
        assert len(sample) == 5

    def test_every_utterance_is_shown_by_some_seed(self):
        transcripts = [transcript(str(number), "A", "A") for number in range(4)]
        shown = {random_sample(transcripts, 1, seed=seed)[0].key for seed in range(50)}
        assert shown == {"0", "1", "2", "3"}

    def test_all_where_there_are_fewer(self):
        two = [transcript("b", "A", "A"), transcript("a", "A", "A")]
        assert random_sample(two, 5, seed=0) == two[::-1]


@pytest.fixture
def transcripts():
    generator = random.Random(0)

    def text():
        return " ".join(generator.choices("ABC", k=generator.randint(0, 8)))

    return [
        Transcript(
            key=f"{generator.randint(1, 5)}/1/{number}",
            reference=text(),
            hypothesis=text(),
            num_samples=generator.randint(0, 30 * 16_000),
        )
        for number in range(60)
    ]


@pytest.mark.parametrize("group", [group_by_speaker, group_by_duration])
def test_the_groups_have_all_transcripts_together(transcripts, group):
    groups = group(transcripts).values()
    members = [transcript for members in groups for transcript in members]
    assert sorted(members, key=lambda each: each.key) == sorted(
        transcripts, key=lambda each: each.key
    )
    assert len(groups) > 1


def test_a_speaker_has_all_her_utterances(transcripts):
    hers = [transcript for transcript in transcripts if transcript.key.startswith("3/")]
    groups = group_by_speaker(transcripts)
    assert groups["3",] == hers
    assert list(groups) == [("1",), ("2",), ("3",), ("4",), ("5",)]


@pytest.mark.parametrize(
    ("num_samples", "span"),
    [(0, (0, 2)), (31_999, (0, 2)), (32_000, (2, 5)), (640_000, (20, float("inf")))],
)
def test_an_edge_belongs_to_the_span_that_begins_there(num_samples, span):
    one = Transcript(key="1/1/1", reference="A", hypothesis="B", num_samples=num_samples)
    assert list(group_by_duration([one])) == [span]


def test_a_transcript_without_a_length_is_skipped():
    one = Transcript(key="1/1/1", reference="A", hypothesis="B")
    assert group_by_duration([one]) == {}
