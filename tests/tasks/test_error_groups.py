import random

import pytest

from w2v2_mt.metrics.word_error_rate import character_edits, total, word_edits
from w2v2_mt.tasks.error_groups import errors_by_duration, errors_by_speaker
from w2v2_mt.tasks.transcripts import Transcript, texts_of


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


@pytest.mark.parametrize("group", [errors_by_speaker, errors_by_duration])
def test_the_groups_have_all_errors_together(transcripts, group):
    groups, texts = group(transcripts).values(), texts_of(transcripts)
    assert total([errors.words for errors in groups]) == total(word_edits(*texts))
    assert total([errors.characters for errors in groups]) == total(character_edits(*texts))
    assert sum(errors.num_utterances for errors in groups) == 60
    assert len(groups) > 1


def test_a_speaker_has_the_errors_of_her_utterances(transcripts):
    hers = [transcript for transcript in transcripts if transcript.key.startswith("3/")]
    groups = errors_by_speaker(transcripts)
    assert groups["3"].words == total(word_edits(*texts_of(hers)))
    assert groups["3"].characters == total(character_edits(*texts_of(hers)))
    assert list(groups) == ["1", "2", "3", "4", "5"]


@pytest.mark.parametrize(
    ("num_samples", "span"),
    [(0, (0, 2)), (31_999, (0, 2)), (32_000, (2, 5)), (640_000, (20, float("inf")))],
)
def test_an_edge_belongs_to_the_span_that_begins_there(num_samples, span):
    one = Transcript(key="1/1/1", reference="A", hypothesis="B", num_samples=num_samples)
    assert list(errors_by_duration([one])) == [span]


def test_what_does_not_tell_its_length_is_left_out():
    one = Transcript(key="1/1/1", reference="A", hypothesis="B")
    assert errors_by_duration([one]) == {}
